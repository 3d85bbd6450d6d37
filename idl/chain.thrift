// The RPC half of the chain A -> B -> C. Who took part travels beside the call (metainfo), so the messages
// carry business data alone: here an opaque payload that comes back as it went.
namespace go chain

struct Request {
    1: optional string payload
}

struct Response {
    1: optional string payload
}

service B {
    // Calls C's invoke, which sends a message.
    Response invoke(1: Request request)
    // Opens a stream of C and answers each request with C's answer; no message is sent.
    Response relay(1: Request request) (streaming.mode="bidirectional")
}

service C {
    // Sends one message to TEST_MQ; a send that fails is an error of the call.
    Response invoke(1: Request request)
    // Answers each request with its payload; no message is sent.
    Response relay(1: Request request) (streaming.mode="bidirectional")
}
