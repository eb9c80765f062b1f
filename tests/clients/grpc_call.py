"""Calls a model that speaks gRPC with the client of the grpcio package, as its users would. Arguments: HOST:PORT, the model's id, a key."""

import sys

import grpc

address, model, key = sys.argv[1:]
metadata = [("baseten-authorization", f"Api-Key {key}"), ("baseten-model-id", f"model-{model}")]

with grpc.insecure_channel(address) as channel:
    shout = channel.unary_unary("/echo.Echo/Shout")
    answer, call = shout.with_call(b"hello", metadata=metadata, timeout=60)
    assert answer == b"HELLO", answer
    trailers = dict(call.trailing_metadata())
    assert trailers["x-baseten-request-id"] and trailers["heard"] == "5", trailers

    chat = channel.stream_stream("/echo.Echo/Chat")
    said = iter([b"one", b"two", b"three"])
    answers = chat(said, metadata=metadata, timeout=60)
    assert list(answers) == [b"ONE", b"TWO", b"THREE"]

    large = b"x" * 3_000_000
    assert shout(large, metadata=metadata, timeout=60) == large.upper()

    for method, changed, expected in [
        ("/echo.Echo/Fail", metadata, grpc.StatusCode.DATA_LOSS),
        ("/echo.Echo/Nothing", metadata, grpc.StatusCode.UNIMPLEMENTED),
        ("/echo.Echo/Shout", metadata[1:], grpc.StatusCode.UNAUTHENTICATED),
        ("/echo.Echo/Shout", metadata[:1], grpc.StatusCode.INVALID_ARGUMENT),
        ("/echo.Echo/Shout", [*metadata, ("x-baseten-environment", "nowhere")], grpc.StatusCode.NOT_FOUND),
    ]:
        try:
            channel.unary_unary(method)(b"hello", metadata=changed, timeout=60)
        except grpc.RpcError as error:
            assert error.code() == expected, (method, error.code(), error.details())
        else:
            raise AssertionError(f"{method} with {changed} succeeded")
