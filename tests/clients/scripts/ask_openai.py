import sys

from openai import OpenAI
from said import say

url, model, picture = sys.argv[1:]
client = OpenAI(base_url=url, api_key="-", max_retries=0)
content = [
    {"type": "image_url", "image_url": {"url": picture, "detail": "auto"}},
    {"type": "text", "text": "Describe this image."},
]
messages = [{"role": "user", "content": content}]
whole = client.chat.completions.create(model=model, messages=messages).choices[0].message.content
chunks = client.chat.completions.create(
    model=model, messages=messages, stream=True, stream_options={"include_usage": True}
)
pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
messages += [{"role": "assistant", "content": whole}, {"role": "user", "content": "Where is the red circle?"}]
again = client.chat.completions.create(model=model, messages=messages).choices[0].message.content
stopped = client.chat.completions.create(model=model, messages=messages, stop=["the"]).choices[0].message.content
say(whole, pieces, again, stopped)
