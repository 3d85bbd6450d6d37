// Package grayotel makes OpenTelemetry spans of what passes through graylib's adapters, with the request's tag and the
// reason why each instance was chosen, so that a loop is one trace: gateway, A, B, C, the message, and A, B, C again.
//
//	rt, err := graylib.New(id, graylib.WithTelemetry(grayotel.New()))
//
// The trace travels by the W3C keys that graylib carries anyway, on every hop and in message properties; no propagator need
// be set. A span's message is consumed as a child of its producer's span, and linked to it.
//
// Where the application has instrumentation of its own the two agree: a server span that is in the context already gets the
// attributes in place of a second one, and a traceparent that a tracer has written onto a request is not overwritten.
// [WithoutSpans] leaves the client's side to it too. It uses the API alone; the program sets up the SDK and its exporters.
package grayotel
