import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";

const [url, name, picture] = process.argv.slice(2);
const model = createOpenAICompatible({ name: "local", baseURL: url, apiKey: "-" })(name);
const content = [{ type: "image", image: picture }, { type: "text", text: "Describe this image." }];
const messages = [{ role: "user", content }];
const whole = (await generateText({ model, messages, maxRetries: 0 })).text;
const pieces = [];
for await (const piece of streamText({ model, messages, maxRetries: 0 }).textStream) pieces.push(piece);
messages.push({ role: "assistant", content: whole }, { role: "user", content: "Where is the red circle?" });
const again = (await generateText({ model, messages, maxRetries: 0 })).text;
console.log(JSON.stringify({ whole, streamed: pieces.join(""), pieces: pieces.length, again, stopped: null }));
