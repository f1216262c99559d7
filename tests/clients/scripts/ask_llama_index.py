import base64
import sys

from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.llms.openai_like import OpenAILike
from said import say

url, model, picture = sys.argv[1:]
chat = OpenAILike(api_base=url, api_key="-", model=model, is_chat_model=True, max_retries=0, context_window=4096)
image = base64.b64decode(picture.partition(",")[2])
blocks = [ImageBlock(image=image, image_mimetype="image/png"), TextBlock(text="Describe this image.")]
messages = [ChatMessage(role="user", blocks=blocks)]
whole = chat.chat(messages).message.content
pieces = [chunk.delta for chunk in chat.stream_chat(messages)]
messages += [ChatMessage(role="assistant", content=whole), ChatMessage(role="user", content="Where is the red circle?")]
say(whole, pieces, chat.chat(messages).message.content)
