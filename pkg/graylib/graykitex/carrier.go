package graykitex

import (
	"context"

	"github.com/bytedance/gopkg/cloud/metainfo"

	"github.com/graychain/graychain/pkg/graylib"
)

// arrivedCarrier reads what a caller sent from a server's context.
type arrivedCarrier struct{ ctx context.Context }

// Get implements [graylib.Carrier].
func (c arrivedCarrier) Get(key string) string { return valueIn(c.ctx, key) }

// transient tells whether a key is the next callee's alone: the reason, and whether hops are wanted.
func transient(key string) bool { return key == graylib.RPCKeys.Reason || key == graylib.RPCKeys.Hops }

// valueIn returns what the metainfo of a context says.
func valueIn(ctx context.Context, key string) string {
	get := metainfo.GetPersistentValue
	if transient(key) {
		get = metainfo.GetValue
	}
	v, _ := get(ctx, key)
	return v
}

// Set implements [graylib.Carrier]: what is set travels back to the caller.
func (c arrivedCarrier) Set(key, value string) {
	if value != "" {
		metainfo.SendBackwardValue(c.ctx, key, value)
	}
}

// departCarrier collects what a call's context shall carry.
type departCarrier struct {
	ctx  context.Context
	kvs  []string // persistent
	room [10]string
}

// Get implements [graylib.Carrier].
func (c *departCarrier) Get(key string) string { return valueIn(c.ctx, key) }

// Set implements [graylib.Carrier].
func (c *departCarrier) Set(key, value string) {
	switch {
	case transient(key) && value == "":
		c.ctx = metainfo.DelValue(c.ctx, key)
	case transient(key):
		c.ctx = metainfo.WithValue(c.ctx, key, value)
	case value == "":
		c.ctx = metainfo.DelPersistentValue(c.ctx, key)
	default:
		c.kvs = append(c.kvs, key, value)
	}
}

// context returns the context with everything that was set.
func (c *departCarrier) context() context.Context {
	if len(c.kvs) == 0 {
		return c.ctx
	}
	return metainfo.WithPersistentValues(c.ctx, c.kvs...)
}

// inject writes a call's tag and what belongs to it into the metainfo of a context.
func inject(ctx context.Context, call *graylib.Call) context.Context {
	c := departCarrier{ctx: ctx}
	c.kvs = c.room[:0]
	call.Inject(graylib.RPCKeys, &c)
	return c.context()
}

// backCarrier reads what a callee sent back.
type backCarrier map[string]string

// Get implements [graylib.Carrier].
func (c backCarrier) Get(key string) string { return c[key] }

// Set implements [graylib.Carrier]. What came back is seen by the call alone: there is nobody to take it off for.
func (backCarrier) Set(string, string) {}
