package remoting

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// errLost is wrapped where a connection ended before the answer came.
var errLost = errors.New("connection lost")

// conn is one connection with many requests under way.
type conn struct {
	addr string
	net  net.Conn

	write sync.Mutex // one frame after the other

	mu      sync.Mutex
	next    int32
	waiting map[int32]chan answer
	err     error // set once it is broken

	push func(Command) bool // what the other side says or asks by itself; false: it isn't known. May be nil
	done chan struct{}      // closed when the reader has ended
}

type answer struct {
	cmd Command
	err error
}

func dial(ctx context.Context, d *net.Dialer, addr string, push func(Command) bool) (*conn, error) {
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &conn{addr: addr, net: nc, waiting: make(map[int32]chan answer), done: make(chan struct{}), push: push}
	go c.read()
	return c, nil
}

// broken tells whether the connection has ended.
func (c *conn) broken() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err != nil
}

// close ends the connection and waits for its reader.
func (c *conn) close() {
	c.fail(fmt.Errorf("%w: closed", errLost))
	<-c.done
}

// fail ends the connection: every request under way gets the error.
func (c *conn) fail(err error) {
	c.mu.Lock()
	waiting := c.waiting
	if c.err == nil {
		c.err = err
	}
	c.waiting = nil
	c.mu.Unlock()
	_ = c.net.Close()
	for _, ch := range waiting {
		ch <- answer{err: err}
	}
}

// readBuffer is how much is read at once: a pull of small messages.
const readBuffer = 16 << 10

func (c *conn) read() {
	defer close(c.done)
	r := bufio.NewReaderSize(c.net, readBuffer)
	for {
		h, body, err := readFrame(r)
		if err != nil {
			c.fail(fmt.Errorf("%w: %s: %w", errLost, c.addr, err))
			return
		}
		if h.Flag&flagResponse == 0 {
			// Only group members are asked.
			if c.push != nil && !c.push(Command{Code: h.Code, Remark: h.Remark, Ext: h.ExtFields, Body: body}) && h.Flag&flagOneWay == 0 {
				go c.refuse(h)
			}
			continue
		}
		c.mu.Lock()
		ch, ok := c.waiting[h.Opaque]
		delete(c.waiting, h.Opaque)
		c.mu.Unlock()
		if ok {
			ch <- answer{cmd: Command{Code: h.Code, Remark: h.Remark, Ext: h.ExtFields, Body: body}}
		}
	}
}

// refuse answers that a request isn't known here: who asks would wait for its timeout else.
func (c *conn) refuse(h header) {
	frame, err := appendFrame(nil, header{
		Code: codeNotSupported, Language: "GO", Version: protocolVersion, Opaque: h.Opaque, Flag: flagResponse,
		Remark: fmt.Sprintf("request %d isn't supported by graylib", h.Code),
	}, nil)
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), refuseWithin)
		defer cancel()
		_, err = c.send(ctx, frame) //graycheck:ignore an answer to the broker is no request's
	}
	if err != nil {
		c.fail(fmt.Errorf("%w: %s: %w", errLost, c.addr, err)) // part of a frame may be out
	}
}

// refuseWithin is how long the other side may take to read that.
const refuseWithin = 20 * time.Second

// headRoom is more than most requests' headers take.
const headRoom = 512

// do sends a request and waits for its answer, as long as ctx allows.
func (c *conn) do(ctx context.Context, req Command) (Command, error) {
	ch := make(chan answer, 1)
	c.mu.Lock()
	if c.err != nil {
		err := c.err
		c.mu.Unlock()
		return Command{}, err
	}
	c.next++
	opaque := c.next
	c.waiting[opaque] = ch
	c.mu.Unlock()

	frame, err := appendFrame(make([]byte, 0, headRoom+len(req.Body)), header{
		Code: req.Code, Language: "GO", Version: protocolVersion, Opaque: opaque, ExtFields: req.Ext,
	}, req.Body)
	if err != nil {
		c.forget(opaque)
		return Command{}, err
	}
	n, err := c.send(ctx, frame)
	switch {
	case err != nil && n == 0 && (ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded)): // the others' requests go on
		c.forget(opaque)
		return Command{}, cmp.Or(ctx.Err(), context.DeadlineExceeded)
	case err != nil:
		c.fail(fmt.Errorf("%w: %s: %w", errLost, c.addr, err)) // part of a frame may be out: nothing more can follow
		a := <-ch
		return a.cmd, a.err
	}
	select {
	case a := <-ch:
		return a.cmd, a.err
	case <-ctx.Done():
		c.forget(opaque)
		return Command{}, ctx.Err()
	}
}

// send writes a frame; n bytes of it are out.
func (c *conn) send(ctx context.Context, frame []byte) (n int, err error) {
	c.write.Lock()
	defer c.write.Unlock()
	if err := ctx.Err(); err != nil { // perhaps while others wrote: a deadline that has passed would break the connection
		return 0, err
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Time{}
	}
	if err := c.net.SetWriteDeadline(deadline); err != nil {
		return 0, err
	}
	return c.net.Write(frame)
}

func (c *conn) forget(opaque int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, opaque)
}
