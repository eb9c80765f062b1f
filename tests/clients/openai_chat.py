"""A chat with a model through the unmodified OpenAI client: `openai_chat.py BASE_URL API_KEY`. Fails at the first thing that is not so."""

import sys

from openai import APIStatusError, OpenAI

base_url, key = sys.argv[1:]
client = OpenAI(base_url=base_url, api_key=key)
ask = {"model": "m", "messages": [{"role": "user", "content": "hello good world"}]}

plain = client.chat.completions.create(**ask)
assert plain.choices[0].message.content == "HELLO GOOD WORLD", plain

streamed = [chunk.choices[0].delta.content for chunk in client.chat.completions.create(stream=True, **ask)]
assert streamed == ["HELLO", "GOOD", "WORLD"], streamed

try:
    client.completions.create(model="m", prompt="x")
    sys.exit("a method that the model does not have was answered")
except APIStatusError as error:
    assert error.status_code == 404, error

try:
    OpenAI(base_url=base_url, api_key="wrong.key", max_retries=0).chat.completions.create(**ask)
    sys.exit("a wrong key was accepted")
except APIStatusError as error:
    assert error.status_code == 401, error
