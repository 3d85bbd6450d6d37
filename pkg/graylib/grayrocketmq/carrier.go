package grayrocketmq

import (
	"strings"

	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib"
)

// propertyCarrier carries values in a message's user properties.
type propertyCarrier struct{ msg *primitive.Message }

// Get implements [graylib.Carrier].
func (c propertyCarrier) Get(key string) string { return c.msg.GetProperty(key) }

// Set implements [graylib.Carrier]. An empty value removes the property: the client drops empty ones silently.
func (c propertyCarrier) Set(key, value string) {
	if value == "" {
		c.msg.RemoveProperty(key)
		return
	}
	c.msg.WithProperty(key, value)
}

// arrivalCarrier is what arrives with a message, and the reason why this member handles it. The reason isn't on the wire:
// the member itself knows it.
type arrivalCarrier struct {
	propertyCarrier
	reason graylib.Reason
}

// reasonKey is where arrivalCarrier has the reason.
const reasonKey = "reason"

// arrivalKeys are the names of a message's properties, with a place for the reason.
var arrivalKeys = func() graylib.Keys {
	k := graylib.MessageKeys
	k.Reason = reasonKey
	return k
}()

// Get implements [graylib.Carrier].
func (c arrivalCarrier) Get(key string) string {
	if key == reasonKey {
		return string(c.reason)
	}
	return c.propertyCarrier.Get(key)
}

// messageRequest is what mark rules see of a message.
type messageRequest struct{ msg *primitive.Message }

// Value implements [graylib.Request].
func (r messageRequest) Value(from graylib.From, key string, i int) (string, bool) {
	switch from {
	case graylib.FromProperty:
		v := r.msg.GetProperty(key)
		return v, v != "" && i == 0
	case graylib.FromKeys:
		keys := strings.Fields(r.msg.GetKeys()) // the client joins them by blanks
		if i >= len(keys) {
			return "", false
		}
		return keys[i], true
	}
	return "", false
}

// Body implements [graylib.Request].
func (r messageRequest) Body() []byte { return r.msg.Body }
