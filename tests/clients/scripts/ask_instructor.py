import json
import sys
from typing import Literal

import instructor
from openai import OpenAI
from pydantic import BaseModel, ConfigDict


class Found(BaseModel):
    model_config = ConfigDict(extra="forbid")
    colour: Literal["red", "blue", "green"]


url, model, picture = sys.argv[1:]
client = instructor.from_openai(OpenAI(base_url=url, api_key="-", max_retries=0), mode=instructor.Mode.JSON_SCHEMA)
content = [{"type": "image_url", "image_url": {"url": picture}}, {"type": "text", "text": "What colour is the circle?"}]
found = client.chat.completions.create(
    model=model, messages=[{"role": "user", "content": content}], response_model=Found
)
print(json.dumps({"structured": found.model_dump()}))
