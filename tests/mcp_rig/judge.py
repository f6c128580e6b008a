"""Asks a server as the official client of MCP does: python judge.py URL. Ends with 0 where every answer is right."""

# mypy: ignore-errors
# The client is in an environment of its own.

import asyncio
import json
import sys

from mcp import Client
from mcp.shared.exceptions import MCPError

BROKEN = {"no": "such form"}


async def judge(url: str, mode: str) -> None:
    async with Client(url, mode=mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert sorted(tools) == ["mood", "parrot"], tools
        assert tools["mood"].description == "Tells good texts from bad ones.", tools["mood"]
        assert tools["mood"].input_schema["required"] == ["inputs"], tools["mood"]
        assert tools["parrot"].input_schema["required"] == ["messages"], tools["parrot"]
        answer = await client.call_tool("mood", {"inputs": ["a lovely day", "rain"]})
        assert not answer.is_error, answer
        assert len(answer.structured_content["predictions"]) == 2, answer
        assert json.loads(answer.content[0].text) == answer.structured_content, answer
        said = await client.call_tool("parrot", {"messages": [{"role": "user", "content": "hello"}]})
        assert said.structured_content["choices"][0]["message"]["content"] == "hello", said
        for tool, arguments in (
            ("mood", BROKEN),
            ("parrot", {"messages": "x"}),
            ("parrot", {"messages": [{"role": "user", "content": "fail"}]}),
        ):
            failed = await client.call_tool(tool, arguments)
            assert failed.is_error, failed
            assert failed.content[0].text, failed
        refused = await refusal(client, "hidden")
        assert "hidden" in refused, refused


async def refusal(client: Client, tool: str) -> str:
    try:
        await client.call_tool(tool, {})
    except MCPError as error:
        return str(error)
    raise AssertionError("a tool that is not offered")


async def main(url: str) -> None:
    for mode in ("auto", "legacy", "2026-07-28"):
        await judge(url, mode)
        await asyncio.gather(*(judge(url, mode) for _ in range(8)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
