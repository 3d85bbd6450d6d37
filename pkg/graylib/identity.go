package graylib

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Identity says which instance of which service a process is.
type Identity struct {
	Service  string // name in the registry, e.g. "a"
	Tag      Tag    // own tag; Untagged = baseline
	Instance string // unique among all instances that ever ran; generated where not given
	Addr     string // host:port that hops show; may be set later, see Runtime.SetAddr
}

// ErrInvalidConfig is wrapped by errors about a wrong setting; the text names the variable, the value and what it may be.
var ErrInvalidConfig = errors.New("invalid configuration")

// invalid makes an error about one setting.
func invalid(name, value, want string) error {
	return fmt.Errorf("%w: %s=%q: %s", ErrInvalidConfig, name, clip(value), want)
}

// IdentityFrom reads GRAY_SERVICE, GRAY_TAG, GRAY_INSTANCE and GRAY_ADDR by way of getenv (nil = [os.Getenv]).
// A malformed GRAY_TAG is an error, so that the process refuses to start.
func IdentityFrom(getenv func(string) string) (Identity, error) {
	if getenv == nil {
		getenv = os.Getenv
	}
	id := Identity{Service: getenv(EnvService), Instance: getenv(EnvInstance), Addr: getenv(EnvAddr)}
	tag, err := ParseTag(getenv(EnvTag))
	if err != nil {
		return Identity{}, fmt.Errorf("%w: %s: %w", ErrInvalidConfig, EnvTag, err)
	}
	id.Tag = tag
	return id, nil
}

// Limits of an identity: a service's name is part of names of consumer groups (255 bytes in the broker) and of client ids, and
// all of them stand in each hop. An address is a host name of at most 253 bytes and a port.
const (
	maxService  = 64
	maxInstance = 128
	maxAddr     = 260
)

// complete fills in a generated instance name and checks the rest.
func (id Identity) complete() (Identity, error) {
	if id.Service == "" {
		return id, invalid(EnvService, "", "want the service's name in the registry")
	}
	if strings.ContainsAny(id.Service, "#@/ ") || printable(id.Service, maxService) == "" {
		return id, invalid(EnvService, id.Service, "want at most 64 characters of ASCII without space, #, @ and /")
	}
	if strings.HasSuffix(id.Service, RPCServiceSuffix) {
		return id, invalid(EnvService, id.Service, "want a name that doesn't end in "+RPCServiceSuffix+": that is added for the RPC endpoint")
	}
	if !id.Tag.Valid() {
		_, err := ParseTag(string(id.Tag))
		return id, fmt.Errorf("%w: %s: %w", ErrInvalidConfig, EnvTag, err)
	}
	if id.Instance == "" {
		id.Instance = generateInstance(id)
	} else if printable(id.Instance, maxInstance) == "" {
		return id, invalid(EnvInstance, id.Instance, "want at most 128 characters of ASCII")
	}
	if id.Addr != "" && printable(id.Addr, maxAddr) == "" {
		return id, invalid(EnvAddr, id.Addr, "want host:port")
	}
	return id, nil
}

// generateInstance makes a name that tells a reader what it is, and is unique by 64 random bits.
func generateInstance(id Identity) string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "host"
	}
	name := id.Service
	if id.Tag != Untagged {
		name += "-" + string(id.Tag)
	}
	return name + "-" + host + "-" + randomHex(8)
}

// randomHex returns 2n random hexadecimal digits.
func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: it ends the program instead (crypto/rand)
	return hex.EncodeToString(b)
}

// NewRequestID returns an id for a request that has none: 32 hexadecimal digits.
func NewRequestID() string { return randomHex(16) }

// newTraceParent starts a trace. It isn't sampled: the flag says that the caller may have recorded the span that it names
// (https://www.w3.org/TR/trace-context/#sampled-flag), and nobody has. Set, it would make the samplers below that go by their
// parent, which are the usual ones, record every request. A tracer at the edge begins its own trace and decides, see [Arriving].
func newTraceParent() string { return "00-" + randomHex(16) + "-" + randomHex(8) + "-00" }
