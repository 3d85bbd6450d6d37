// Package grayhertz makes Hertz servers and clients gray-aware.
//
// A server takes the tag of each request in, and gives the hops back:
//
//	h := grayhertz.WrapServer(server.Default(server.WithHostPorts(":20001")))
//
// WrapServer also registers the server and takes it back before it stops, so that no request is lost. [ServerMiddleware]
// is the middleware alone.
//
// A client chooses instances by the tag and writes it on:
//
//	c, err := grayhertz.WrapClient(client.NewClient())
//	status, body, err := c.Get(ctx, nil, "http://b/b", config.WithSD(true))
//
// What is discovered is opted into request by request, as with Hertz's own discovery: config.WithSD(true) says that
// the host is a service's name in the registry. Other requests are left as they are, so that no tag reaches a third party;
// hosts of one's own that aren't in the registry can be named with [WithHosts].
//
// Everything takes a runtime with [WithRuntime], or else the process-wide default. With the kill switch
// thrown (GRAY_ENABLED=off, see [graylib.Runtime.Enabled]) services are registered and found as ever, without tags. All of it may be applied twice.
package grayhertz
