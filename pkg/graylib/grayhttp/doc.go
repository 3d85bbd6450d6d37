// Package grayhttp makes services on net/http gray-aware.
//
//	srv := grayhttp.WrapServer(&http.Server{Addr: addr, Handler: mux})
//	client := &http.Client{Transport: grayhttp.Transport(nil)}
//
// [WrapServer] is [Handler], and registers the server while it serves. Handler takes the tag of each request in and gives the hops back; [Transport] chooses instances by the tag and writes
// it on, for URLs whose host is a service's name in the registry: one without a dot and a port, other than localhost.
// Requests to other hosts are left as they are, so that no tag reaches a third party; hosts of one's own can be named with
// [WithHosts].
// A server that isn't wrapped is registered by [graylib.Runtime.Announce], and taken back by [graylib.Runtime.Withdraw]
// before it shuts down.
//
// Everything takes a runtime with [WithRuntime], or else the process-wide default. With the kill switch
// thrown (GRAY_ENABLED=off, see [graylib.Runtime.Enabled]) services are registered and found as ever, without tags. All of it may be applied twice.
package grayhttp
