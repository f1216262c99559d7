import sys

from langchain_core.messages import AIMessage, HumanMessage
from langchain_openai import ChatOpenAI
from said import say

url, model, picture = sys.argv[1:]
chat = ChatOpenAI(base_url=url, api_key="-", model=model, max_retries=0)
content = [{"type": "image_url", "image_url": {"url": picture}}, {"type": "text", "text": "Describe this image."}]
messages = [HumanMessage(content=content)]
whole = chat.invoke(messages).content
pieces = [chunk.content for chunk in chat.stream(messages)]
messages += [AIMessage(content=whole), HumanMessage(content="Where is the red circle?")]
say(whole, pieces, chat.invoke(messages).content, chat.invoke(messages, stop=["the"]).content)
