package main

import (
	"bytes"
	"net"
	"strings"

	"github.com/cloudwego/hertz/pkg/app"
	"github.com/cloudwego/hertz/pkg/common/config"
	"github.com/cloudwego/hertz/pkg/protocol"

	"github.com/graychain/graychain/pkg/graylib"
)

// The proxy's own way of handing requests on, in place of hertz-contrib/reverseproxy v1.0.0: that one doubles
// X-Forwarded-For where the client sent one, hands the decoded path on (a%2Fb becomes a/b), changes the headers while it
// iterates over them, and writes its target into the request that the server's middleware still reads.

// hopByHop are the headers that belong to one connection (https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1, and the
// older ones of RFC 2616). Trailer is among them: trailers are not handed on.
var hopByHop = map[string]bool{
	"connection": true, "proxy-connection": true, "keep-alive": true, "te": true, "trailer": true,
	"transfer-encoding": true, "upgrade": true, "proxy-authenticate": true, "proxy-authorization": true,
}

// outbound writes into req what c's request becomes on its way to a service: the path behind the prefix as the client
// spelled it, the query, the headers but those of the connection, and the body, which streams.
func outbound(req *protocol.Request, c *app.RequestContext, service, path string) {
	in := &c.Request
	uri := "http://" + service + path
	if query := in.URI().QueryString(); len(query) > 0 {
		uri += "?" + string(query)
	}
	req.SetRequestURI(uri)
	req.Header.SetMethodBytes(in.Method())
	req.SetOptions(config.WithSD(true))

	dropped := connectionHeaders(string(in.Header.Peek("Connection")))
	in.Header.VisitAll(func(k, v []byte) {
		switch name := strings.ToLower(string(k)); {
		case hopByHop[name], dropped[name], name == "host", name == "content-length", strings.HasPrefix(name, "x-forwarded-"):
		default:
			req.Header.Add(string(k), string(v))
		}
	})
	forwarded(req, c)
	if in.IsBodyStream() {
		req.SetBodyStream(in.BodyStream(), in.Header.ContentLength())
	} else if body := in.Body(); len(body) > 0 {
		req.SetBody(body)
	}
}

// forwarded says where the request comes from. What a client said of its own way here is kept at the front, as is usual;
// only the last entry is ours.
func forwarded(req *protocol.Request, c *app.RequestContext) {
	// Several lines are one list (https://www.rfc-editor.org/rfc/rfc9110#section-5.3): the entry of a proxy before us may stand in
	// the last one, and the client's own word in the first.
	var lines []string
	for _, line := range c.Request.Header.PeekAll(graylib.ForwardedHeader) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			lines = append(lines, string(line))
		}
	}
	if ip, _, err := net.SplitHostPort(c.RemoteAddr().String()); err == nil {
		lines = append(lines, ip)
	}
	if len(lines) > 0 {
		req.Header.Set(graylib.ForwardedHeader, strings.Join(lines, ", "))
	}
	req.Header.Set("X-Forwarded-Host", string(c.Request.Host()))
	req.Header.Set("X-Forwarded-Proto", string(c.Request.Scheme()))
}

// inbound takes the headers of the inner connection off the answer.
func inbound(resp *protocol.Response) {
	drop := connectionHeaders(string(resp.Header.Peek("Connection")))
	var names []string // collected first: headers must not change under VisitAll
	resp.Header.VisitAll(func(k, _ []byte) {
		// Hertz writes Transfer-Encoding from the body's length; deleting it would only lose the length.
		if name := strings.ToLower(string(k)); (hopByHop[name] && name != "transfer-encoding") || drop[name] {
			names = append(names, string(k))
		}
	})
	for _, name := range names {
		resp.Header.Del(name)
	}
	resp.Header.ResetConnectionClose()
}

// connectionHeaders returns the names that a Connection header lists, in lower case.
func connectionHeaders(connection string) map[string]bool {
	if connection == "" {
		return nil
	}
	names := make(map[string]bool)
	for name := range strings.SplitSeq(connection, ",") {
		if name = strings.ToLower(strings.TrimSpace(name)); name != "" {
			names[name] = true
		}
	}
	return names
}
