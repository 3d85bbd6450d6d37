package remoting

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// Errors of a [Client].
var (
	// ErrUnreachable is wrapped where no connection could be made, it broke, or no answer came in time.
	ErrUnreachable = errors.New("RocketMQ server can't be reached")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("remoting client is closed")
	// ErrNoAddress is returned by New without a name server.
	ErrNoAddress = errors.New("no name server address")
)

// DefaultTimeout bounds one request where the context doesn't: the client's own timeout for such requests.
const DefaultTimeout = 3 * time.Second

// DefaultSessionTimeout bounds one request of a [Session] where the context doesn't. A broker that stands still for some seconds (a
// full garbage collection, a disk that writes back) keeps its connections and the locks, which live for 60 s; the members wait for it.
const DefaultSessionTimeout = 20 * time.Second

// Config says where the name servers are and who asks.
type Config struct {
	NameServers   []string // host:port each; one after the other is asked until one answers
	AccessKey     string   // with SecretKey: requests are signed for the broker's access control
	SecretKey     string
	SecurityToken string
	Timeout       time.Duration // of one request; 0 = DefaultTimeout

	SessionTimeout time.Duration // of one request of a Session; 0 = DefaultSessionTimeout

	// Resolve returns the name servers there are now; nil = they stay. It is asked where none of those known answered, on the goroutine
	// of the request; none, or malformed ones, change nothing.
	Resolve func() []string
}

// Client asks name servers and brokers. It is safe for concurrent use.
type Client struct {
	config Config
	dialer net.Dialer

	mu     sync.Mutex
	conns  map[string]*conn
	dials  map[string]*sync.Mutex // one dial per address at a time
	closed bool
	first  int // the name server that answered last

	nameServers []string // as last known

	pinned *conn // of a Session: the only connection there is
}

// New makes a client. It connects when it is first used.
func New(c Config) (*Client, error) {
	servers, err := addresses(c.NameServers)
	if err != nil {
		return nil, err
	}
	if len(servers) == 0 {
		return nil, ErrNoAddress
	}
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	if c.SessionTimeout <= 0 {
		c.SessionTimeout = DefaultSessionTimeout
	}
	return &Client{config: c, nameServers: servers, conns: make(map[string]*conn), dials: make(map[string]*sync.Mutex)}, nil
}

// addresses returns the name servers of a list as host:port each.
func addresses(list []string) ([]string, error) {
	list = slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == "" })
	for i, addr := range list {
		addr = strings.TrimPrefix(strings.TrimPrefix(addr, "http://"), "https://")
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return nil, fmt.Errorf("name server %q: want host:port: %w", addr, err)
		}
		list[i] = addr
	}
	return list, nil
}

// Close ends all connections. Requests under way fail.
func (c *Client) Close() error {
	c.mu.Lock()
	conns := c.conns
	c.conns, c.closed = nil, true
	c.mu.Unlock()
	for _, cn := range conns {
		cn.close()
	}
	return nil
}

// ResponseError is an answer with another code than success.
type ResponseError struct {
	Addr    string
	Request int // the request's code
	Code    int // the answer's
	Remark  string
}

// Error implements error.
func (e *ResponseError) Error() string {
	return fmt.Sprintf("request %d to %s: %s", e.Request, e.Addr, e.Reason())
}

// Reason is what the server said, in one line.
func (e *ResponseError) Reason() string { return fmt.Sprintf("code %d: %s", e.Code, oneLine(e.Remark)) }

// oneLine keeps the first line of a remark: brokers append documentation links and stack traces.
func oneLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	s = strings.TrimSpace(s)
	if len(s) > 300 {
		s = s[:300] + "…"
	}
	return s
}

// hasCode tells whether err is an answer with one of the codes.
func hasCode(err error, codes ...int) bool {
	var r *ResponseError
	return errors.As(err, &r) && slices.Contains(codes, r.Code)
}

// once are the codes of requests that are never asked a second time by Invoke: the broker may have stored the message, and would
// store it again.
var once = []int{reqSend, reqSendBack}

// Invoke sends a request to an address and returns the answer, whatever its code. An error means that there is none; it
// wraps [ErrUnreachable], or the context's error beside it. Where a connection that had been idle is lost, the request is asked
// again on a new one, unless it stores a message.
func (c *Client) Invoke(ctx context.Context, addr string, req Command) (Command, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	req.Ext = c.sign(req)
	for {
		cn, reused, err := c.conn(ctx, addr)
		if errors.Is(err, ErrClosed) {
			return Command{}, err
		}
		if err != nil {
			return Command{}, fmt.Errorf("%w: %s: %w", ErrUnreachable, addr, err)
		}
		answer, err := cn.do(ctx, req)
		switch {
		case err == nil:
			return answer, nil
		case errors.Is(err, ErrMalformedFrame) && !errors.Is(err, errLost): // our own request is too large
			return Command{}, err
		case reused && errors.Is(err, errLost) && ctx.Err() == nil && !slices.Contains(once, req.Code):
			continue // it had been idle and the other side closed it
		}
		return Command{}, fmt.Errorf("%w: request %d to %s: %w", ErrUnreachable, req.Code, addr, err)
	}
}

// call is Invoke with any other code than success as a *ResponseError.
func (c *Client) call(ctx context.Context, addr string, req Command) (Command, error) {
	answer, err := c.Invoke(ctx, addr, req)
	if err != nil {
		return Command{}, err
	}
	if answer.Code != codeSuccess {
		return answer, &ResponseError{Addr: addr, Request: req.Code, Code: answer.Code, Remark: answer.Remark}
	}
	return answer, nil
}

// conn returns the connection to addr, made now where there is none.
func (c *Client) conn(ctx context.Context, addr string) (cn *conn, reused bool, err error) {
	if c.pinned != nil {
		return c.pinned, false, nil // broken or not: what is asked of it says so
	}
	lookup := func() (*conn, *sync.Mutex, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.closed {
			return nil, nil, ErrClosed
		}
		if cn := c.conns[addr]; cn != nil && !cn.broken() {
			return cn, nil, nil
		}
		m := c.dials[addr]
		if m == nil {
			m = new(sync.Mutex)
			c.dials[addr] = m
		}
		return nil, m, nil
	}
	cn, dialing, err := lookup()
	if cn != nil || err != nil {
		return cn, true, err
	}
	dialing.Lock()
	defer dialing.Unlock()
	if cn, _, err = lookup(); cn != nil || err != nil { // another request has made it meanwhile
		return cn, true, err
	}
	if cn, err = dial(ctx, &c.dialer, addr, nil); err != nil {
		return nil, false, err
	}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		cn.close()
		return nil, false, ErrClosed
	}
	c.conns[addr] = cn
	c.mu.Unlock()
	return cn, false, nil
}

// sign returns the request's fields with the signature that the broker's access control asks for: HMAC-SHA1 over the
// values in the order of their keys, then the body (client-go's ACLInterceptor, the server's AclUtils.combineRequestContent).
func (c *Client) sign(req Command) map[string]string {
	if c.config.AccessKey == "" || c.config.SecretKey == "" {
		return req.Ext
	}
	ext := make(map[string]string, len(req.Ext)+3)
	maps.Copy(ext, req.Ext)
	ext["AccessKey"] = c.config.AccessKey
	if c.config.SecurityToken != "" {
		ext["SecurityToken"] = c.config.SecurityToken
	}
	mac := hmac.New(sha1.New, []byte(c.config.SecretKey))
	for _, k := range slices.Sorted(maps.Keys(ext)) {
		mac.Write([]byte(ext[k]))
	}
	mac.Write(req.Body)
	ext["Signature"] = base64.StdEncoding.EncodeToString(mac.Sum(nil))
	return ext
}

// nameServer asks the name servers in turn, beginning with the one that answered last. Where none answers those that are there now
// are asked.
func (c *Client) nameServer(ctx context.Context, req Command) (Command, error) {
	c.mu.Lock()
	servers, first := c.nameServers, c.first
	c.mu.Unlock()
	answer, err := c.inTurn(ctx, servers, first, req)
	if !errors.Is(err, ErrUnreachable) || c.config.Resolve == nil || ctx.Err() != nil {
		return answer, err
	}
	now, malformed := addresses(c.config.Resolve())
	if malformed != nil || len(now) == 0 || slices.Equal(now, servers) {
		return answer, err
	}
	c.mu.Lock()
	c.nameServers, c.first = now, 0
	c.mu.Unlock()
	return c.inTurn(ctx, now, 0, req)
}

func (c *Client) inTurn(ctx context.Context, servers []string, first int, req Command) (Command, error) {
	var errs []error
	for i := range servers {
		at := (first + i) % len(servers)
		answer, err := c.call(ctx, servers[at], req)
		if err == nil || !errors.Is(err, ErrUnreachable) {
			c.mu.Lock()
			if slices.Equal(c.nameServers, servers) {
				c.first = at
			}
			c.mu.Unlock()
			return answer, err
		}
		errs = append(errs, err)
	}
	return Command{}, errors.Join(errs...)
}
