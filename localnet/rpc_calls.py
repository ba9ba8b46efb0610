"""One JSON-RPC call answered, whatever it came over (spec/chain.md §8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localnet.node_view import NodeView, Refusing
from localnet.rpc_methods import METHODS, BadParams, RpcFailed

NO_ID = -1  # of answers to GET requests and to what cannot be read


def failure(call_id: Any, code: int, message: str, data: str = "") -> dict[str, Any]:
    error: dict[str, Any] = {"code": code, "message": message}
    if data:
        error["data"] = data
    return {"jsonrpc": "2.0", "id": call_id, "error": error}


def call(view: NodeView, call_id: Any, method: str, params: Any) -> dict[str, Any]:
    """Return the JSON-RPC answer to one call."""
    known = METHODS.get(method)
    if known is None:
        return failure(call_id, -32601, "Method not found")
    function, names = known
    if isinstance(params, list):
        params = dict(zip(names, params, strict=False))
    if not isinstance(params, Mapping):
        return failure(call_id, -32602, "Invalid params", "error converting json params to arguments")
    try:
        view.admit(method)
        return {"jsonrpc": "2.0", "id": call_id, "result": function(view, params)}
    except BadParams as error:
        return failure(call_id, -32602, "Invalid params", str(error))
    except (RpcFailed, Refusing) as error:
        return failure(call_id, -32603, "Internal error", str(error))


def answer_document(view: NodeView, document: Any) -> Any:
    """Return the answer to a decoded request or batch; None for notifications, which get none."""
    if isinstance(document, list):
        answers = [answer_document(view, entry) for entry in document]
        return [answer for answer in answers if answer is not None] or None
    if not isinstance(document, dict) or not isinstance(document.get("method"), str):
        return failure(NO_ID, -32600, "Invalid Request", "error unmarshalling request")
    if "id" not in document:
        return None
    return call(view, document["id"], document["method"], document.get("params") or {})
