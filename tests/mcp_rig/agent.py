"""An agent of Pydantic AI that has a served model as a tool: python agent.py URL. Ends with 0 where it was used."""

# mypy: ignore-errors
# The framework is in an environment of its own.

import asyncio
import sys
from typing import Any

from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import FunctionModel


def think(messages: list[Any], info: Any) -> ModelResponse:
    """What a language model would do: ask the tool, and tell what it said."""
    told = [part for part in messages[-1].parts if isinstance(part, ToolReturnPart)]
    if told:
        return ModelResponse(parts=[TextPart(f"It says {told[0].content}")])
    assert "mood" in [tool.name for tool in info.function_tools], info
    return ModelResponse(parts=[ToolCallPart("mood", {"inputs": ["a lovely day"]})])


async def main(url: str) -> None:
    agent = Agent(FunctionModel(think), toolsets=[MCPToolset(url)])
    async with agent:
        answer = await agent.run("How is it?")
    assert "predictions" in answer.output, answer


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
