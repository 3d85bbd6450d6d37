// Package graykitex makes Kitex servers and clients gray-aware, over TTHeader, TTHeader streaming and gRPC.
//
//	svr := bservice.NewServer(handler, server.WithSuite(graykitex.NewServerSuite()))
//	cli, err := cservice.NewClient("c", client.WithSuite(graykitex.NewClientSuite()))
//
// The server's suite takes the tag of each call and stream in and gives the hops back, registers the server as
// <service>.rpc as soon as it listens, and takes it back before Stop closes anything, so that no call is lost. The
// client's suite writes the tag onto calls and streams, and chooses instances by it; it sets the transport to one that
// carries the tag. A stream's tag is fixed at its creation.
//
// Everything takes a runtime with [WithRuntime], or else the process-wide default. Where that can't be built, Run and
// NewClient return the reason. With the kill switch thrown (GRAY_ENABLED=off, see [graylib.Runtime.Enabled]) services are registered and
// found as ever, and the transports stay the same, without tags. All of it may be applied twice.
package graykitex
