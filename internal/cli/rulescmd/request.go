package rulescmd

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/pflag"

	"github.com/graychain/graychain/pkg/graylib"
)

// pair is a value with its name.
type pair struct{ key, value string }

// request is a request described by flags.
type request struct {
	values map[graylib.From][]pair
	body   []byte
}

// described is what the flags say of a request.
type described struct {
	service                string
	path, method, ip, body string
	headers, queries       []string
	cookies, metainfo      []string
}

func (d *described) flags(flags *pflag.FlagSet) {
	flags.StringVar(&d.service, "service", "", "the callee: its name in the registry, b for both b and b.rpc")
	flags.StringVar(&d.path, "path", "", "path as the callee sees it (on RPC: /Service/Method)")
	flags.StringVar(&d.method, "method", "GET", "HTTP method (on RPC: the thrift method)")
	flags.StringVar(&d.ip, "ip", "", "the client's address")
	flags.StringVar(&d.body, "body", "", "JSON body, or @FILE")
	flags.StringArrayVar(&d.headers, "header", nil, "header, NAME=VALUE")
	flags.StringArrayVar(&d.queries, "query", nil, "query parameter, NAME=VALUE")
	flags.StringArrayVar(&d.cookies, "cookie", nil, "cookie, NAME=VALUE")
	flags.StringArrayVar(&d.metainfo, "metainfo", nil, "metainfo of an RPC, KEY=VALUE")
}

// request makes the request. What no request can have is an error that names the flag, its value and what it may be; notes say why a
// body has no fields, which happens to real requests too.
func (d *described) request(body string) (req *request, notes []string, err error) {
	base, rpc := strings.CutSuffix(d.service, graylib.RPCServiceSuffix)
	switch {
	case d.service == "":
		return nil, nil, fmt.Errorf("--service is missing: the callee whose entries are evaluated")
	case rpc:
		return nil, nil, fmt.Errorf("--service is %q; want %q: the name stands for its HTTP and its RPC endpoint", d.service, base)
	case d.path != "" && !strings.HasPrefix(d.path, "/"):
		return nil, nil, fmt.Errorf("--path is %q; want one that begins with /, as the callee sees it (on RPC: /Service/Method)", d.path)
	case d.method != "" && !token(d.method):
		return nil, nil, fmt.Errorf("--method is %q; want an HTTP method, or a thrift method's name", d.method)
	}
	if d.ip != "" {
		if _, err := netip.ParseAddr(d.ip); err != nil {
			return nil, nil, fmt.Errorf("--ip is %q; want an IPv4 or IPv6 address, without a port", d.ip)
		}
	}
	req = &request{values: map[graylib.From][]pair{}}
	for _, f := range []struct {
		from  graylib.From
		flag  string
		pairs []string
		token bool // names are tokens (RFC 9110, section 5.6.2; RFC 6265, section 4.1.1)
	}{
		{graylib.FromHeader, "header", d.headers, true}, {graylib.FromQuery, "query", d.queries, false},
		{graylib.FromCookie, "cookie", d.cookies, true}, {graylib.FromMetainfo, "metainfo", d.metainfo, false},
	} {
		for _, p := range f.pairs {
			key, value, ok := strings.Cut(p, "=")
			switch {
			case !ok || key == "":
				return nil, nil, fmt.Errorf("--%s is %q; want NAME=VALUE", f.flag, p)
			case f.token && !token(key):
				return nil, nil, fmt.Errorf("--%s is %q; want NAME=VALUE with a name of letters, digits and !#$%%&'*+-.^_`|~", f.flag, p)
			}
			req.values[f.from] = append(req.values[f.from], pair{key, value})
		}
	}
	for from, value := range map[graylib.From]string{graylib.FromPath: d.path, graylib.FromMethod: d.method, graylib.FromIP: d.ip} {
		if value != "" {
			req.values[from] = []pair{{value: value}}
		}
	}
	switch {
	case len(body) > graylib.MaxBody:
		notes = append(notes, fmt.Sprintf("--body has %d bytes: one of more than %d counts as absent", len(body), graylib.MaxBody))
	case body != "" && !json.Valid([]byte(body)):
		notes = append(notes, fmt.Sprintf("--body is %s; it is no JSON, so entries find no fields in it", shortened(body)))
		fallthrough
	default:
		req.body = []byte(body)
	}
	return req, notes, nil
}

// token tells whether s may be a header's or a cookie's name.
func token(s string) bool {
	for _, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}

// shortened quotes a text, of a long one the beginning.
func shortened(s string) string {
	const most = 60
	if len(s) > most {
		return fmt.Sprintf("%q…", s[:most])
	}
	return fmt.Sprintf("%q", s)
}

// Value implements [graylib.Request]. Headers are compared without regard to case.
func (r *request) Value(from graylib.From, key string, i int) (string, bool) {
	for _, p := range r.values[from] {
		if p.key == "" || p.key == key || (from == graylib.FromHeader && strings.EqualFold(p.key, key)) {
			if i == 0 {
				return p.value, true
			}
			i--
		}
	}
	return "", false
}

// Body implements [graylib.Request].
func (r *request) Body() []byte { return r.body }
