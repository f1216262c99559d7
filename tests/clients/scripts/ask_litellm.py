import sys

import litellm
from said import say

url, model, picture = sys.argv[1:]
options = {"model": f"openai/{model}", "api_base": url, "api_key": "-", "num_retries": 0}
content = [{"type": "text", "text": "Describe this image."}, {"type": "image_url", "image_url": {"url": picture}}]
messages = [{"role": "user", "content": content}]
whole = litellm.completion(messages=messages, **options).choices[0].message.content
pieces = [
    chunk.choices[0].delta.content or "" for chunk in litellm.completion(messages=messages, stream=True, **options)
]
messages += [{"role": "assistant", "content": whole}, {"role": "user", "content": "Where is the red circle?"}]
again = litellm.completion(messages=messages, **options).choices[0].message.content
stopped = litellm.completion(messages=messages, stop=["the"], **options).choices[0].message.content
say(whole, pieces, again, stopped)
