package graynacos

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/rules"
	"github.com/nacos-group/nacos-sdk-go/v2/vo"
)

// Client reads and publishes the rules document: a [rules.Store] for commands. It is safe for concurrent use.
type Client struct {
	cluster *cluster
	opts    options
	client  configClient
	close   sync.Once
}

var _ rules.Store = (*Client)(nil)

// Dial connects to the Nacos of c, of which it takes the address, the namespace, and the user. It fails at once where
// none of the servers can be reached; the error is one line and wraps [ErrUnreachable], [graylib.ErrInvalidConfig] where
// a setting is wrong. Close the client after use.
func Dial(ctx context.Context, c graylib.Config, log *slog.Logger, opts ...Option) (*Client, error) {
	o := newOptions(opts)
	if log == nil {
		log = slog.Default()
	}
	cl, err := newCluster(c, o)
	if err != nil {
		return nil, err
	}
	if err := cl.probe(ctx); err != nil {
		return nil, err
	}
	useLogger(log)
	client, err := cl.newConfig()
	if err != nil {
		return nil, err
	}
	return &Client{cluster: cl, opts: o, client: client}, nil
}

func (c *Client) param() vo.ConfigParam {
	return vo.ConfigParam{DataId: c.opts.rulesDataID, Group: c.opts.rulesGroup}
}

// Get implements [rules.Store].
func (c *Client) Get(ctx context.Context) (content []byte, md5 string, err error) {
	var text string
	err = c.try(ctx, func() (err error) {
		text, err = c.client.GetConfig(c.param())
		return err
	})
	if err != nil {
		return nil, "", err
	}
	if text == "" {
		return nil, "", nil
	}
	return []byte(text), sum(text), nil
}

// absent is an MD5 that no document has in practice. Against it Nacos creates a document and never replaces one, whereas an
// empty MD5 replaces whatever is there.
const absent = "00000000000000000000000000000000"

// Publish implements [rules.Store]. Content must not be empty: Nacos can't hold an empty document.
func (c *Client) Publish(ctx context.Context, content []byte, casMD5 string) error {
	if strings.TrimSpace(string(content)) == "" {
		return fmt.Errorf("publish %s: the document is empty: want a rules document", c.opts.rulesDataID)
	}
	param := c.param()
	param.Content, param.Type, param.CasMd5 = string(content), "yaml", casMD5
	if casMD5 == "" {
		param.CasMd5 = absent
	}
	// A request whose answer was lost may have been carried out, so it isn't repeated: the caller has to look.
	return c.once(ctx, func() error {
		ok, err := c.client.PublishConfig(param)
		switch {
		case err != nil && strings.Contains(strings.ToLower(err.Error()), "cas publish fail"):
			return fmt.Errorf("publish %s: %w", c.opts.rulesDataID, rules.ErrConflict)
		case err != nil:
			return err
		case !ok:
			return errNotAllowed
		}
		return nil
	})
}

// Delete removes the document, whatever it says. Services refuse the deletion and go on with the last good one.
func (c *Client) Delete(ctx context.Context) error {
	return c.once(ctx, func() error {
		ok, err := c.client.DeleteConfig(c.param())
		if err == nil && !ok {
			err = errNotAllowed
		}
		return err
	})
}

// Close ends the connection.
func (c *Client) Close() error {
	c.close.Do(func() { closeConfig(c.client) })
	return nil
}

// passing tells whether a read failed for a reason that passes in a moment: the client's own limit of 5 reads a second of one
// document, which a whole process shares, and a write at the same time.
func passing(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "ConfigQueryRequest is limited") || strings.Contains(err.Error(), "data being modified"))
}

// try calls fn again while it fails for a passing reason.
func (c *Client) try(ctx context.Context, fn func() error) error {
	for {
		err := c.once(ctx, fn)
		if !passing(err) {
			return err
		}
		if e := sleep(ctx, 100*time.Millisecond); e != nil {
			return fmt.Errorf("%w (%w)", err, e)
		}
	}
}

// once calls fn, whose call can't be cancelled, and returns with ctx at the latest, or after twice the timeout of one
// request: the first one also has to connect.
func (c *Client) once(ctx context.Context, fn func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 2*c.opts.timeout)
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- fn() }()
	select {
	case err := <-result:
		if err == nil || errors.Is(err, rules.ErrConflict) {
			return err
		}
		return c.cluster.failed(err)
	case <-ctx.Done():
		return c.cluster.unreachable(context.Cause(ctx))
	}
}

func sum(content string) string {
	s := md5.Sum([]byte(content))
	return hex.EncodeToString(s[:])
}
