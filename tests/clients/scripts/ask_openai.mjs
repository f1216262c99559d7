import OpenAI from "openai";

const [url, model, picture] = process.argv.slice(2);
const client = new OpenAI({ baseURL: url, apiKey: "-", maxRetries: 0 });
const content = [{ type: "image_url", image_url: { url: picture } }, { type: "text", text: "Describe this image." }];
const messages = [{ role: "user", content }];
const whole = (await client.chat.completions.create({ model, messages })).choices[0].message.content;
const pieces = [];
for await (const chunk of await client.chat.completions.create({ model, messages, stream: true })) {
  pieces.push(chunk.choices[0]?.delta?.content ?? "");
}
messages.push({ role: "assistant", content: whole }, { role: "user", content: "Where is the red circle?" });
const again = (await client.chat.completions.create({ model, messages })).choices[0].message.content;
console.log(JSON.stringify({ whole, streamed: pieces.join(""), pieces: pieces.length, again, stopped: null }));
