import base64
import json
import sys
from typing import Literal

from pydantic import BaseModel, ConfigDict
from pydantic_ai import Agent, BinaryContent, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider


class Found(BaseModel):
    model_config = ConfigDict(extra="forbid")
    colour: Literal["red", "blue", "green"]


url, model, picture = sys.argv[1:]
image = BinaryContent(data=base64.b64decode(picture.partition(",")[2]), media_type="image/png")
chat = OpenAIChatModel(model, provider=OpenAIProvider(base_url=url, api_key="-"))
found = Agent(chat, output_type=NativeOutput(Found)).run_sync(["What colour is the circle?", image])
print(json.dumps({"structured": found.output.model_dump()}))
