// Package graylib makes Go services gray-aware: a request that a rule picks keeps its tag over every hop, reaches the
// instances of its lane where a service has some and the baseline elsewhere, and the messages it causes carry the tag on.
//
// This package is the core and imports the standard library alone. It holds the tag and its place in
// [context.Context], every name on the wire (names.go), the choice of instances, hops, and what one process knows (a
// [Runtime]). The adapters below this folder bind it to one SDK each: graykitex, grayhertz, grayhttp, grayrocketmq and
// graynacos. An adapter moves values between its SDK and the core and holds no tag logic of its own:
//
//	server:  ctx, arrival := rt.Arrive(ctx, graylib.ProtocolHTTP, graylib.HTTPKeys, carrier)   // reads the tag, adds this hop
//	client:  ctx, call := rt.Depart(ctx, "b", request)                                         // colours, if no tag is set yet
//	         instance, reason, err := call.Next(table)                                        // lane first, then the baseline
//	         call.Inject(graylib.HTTPKeys, carrier)                                           // writes tag, request id, trace, reason
//	         call.Return(graylib.HTTPKeys, answer)                                            // takes in the hops that came back
//	server:  arrival.Return(graylib.HTTPKeys, answer)                                         // sends them on
//
// A handler knows nothing of this: it only passes its context on.
package graylib
