"""Asks a server as LangChain does: python chains.py URL. Ends with 0 where every answer is right."""

import asyncio
import sys

from langchain_core.messages import HumanMessage, ToolMessage  # type: ignore[import-not-found]
from langchain_core.tools import tool  # type: ignore[import-not-found]
from langchain_openai import ChatOpenAI, OpenAIEmbeddings  # type: ignore[import-not-found]


@tool  # type: ignore[untyped-decorator]
def look(at: str) -> str:
    """Look at something."""
    return f"saw {at}"


async def aside(url: str) -> None:
    """In one event loop, for the clients that LangChain keeps belong to the first."""
    for model in ("parrot", "agent"):
        chat = ChatOpenAI(model=model, base_url=f"{url}/v1", api_key="none", max_retries=0)
        assert (await chat.ainvoke("hello")).content.strip() == "hello"
        assert "".join([chunk.content async for chunk in chat.astream("a b c")]).strip() == "a b c"


def main(url: str) -> None:
    asyncio.run(aside(url))
    told = {"base_url": f"{url}/v1", "api_key": "none", "max_retries": 0}
    for model in ("parrot", "agent"):
        chat = ChatOpenAI(model=model, **told)
        answer = chat.invoke("hello you")
        assert answer.content.strip() == "hello you", answer
        assert "".join(chunk.content for chunk in chat.stream("a b c")).strip() == "a b c"
        called = chat.bind_tools([look]).invoke("look there")
        (call,) = called.tool_calls
        assert call["name"] == "look", called
        history = [HumanMessage("look there"), called, ToolMessage("seen", tool_call_id=call["id"])]
        assert chat.invoke(history).content.strip() == "seen"
    spoken = ChatOpenAI(model="agent", use_responses_api=True, **told).invoke("hello")
    assert spoken.text.strip() == "hello", spoken
    vectors = OpenAIEmbeddings(model="lengths", check_embedding_ctx_length=False, **told).embed_documents(["a", "four"])
    assert [round(vector[0]) for vector in vectors] == [1, 4], vectors


if __name__ == "__main__":
    main(sys.argv[1])
