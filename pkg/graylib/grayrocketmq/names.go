package grayrocketmq

import (
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/graychain/graychain/pkg/graylib"
)

// maxGroup is the greatest length of a group's name in bytes (the client's ValidateGroup, the broker's Validators).
const maxGroup = 255

// instanceName is <service>#<tag or ->#<what it is for>#<uuid>. The client puts its address and an @ in front; with that it is
// the client id. Members of lanes' groups have names that say more ([ownership.InstanceName]).
func instanceName(id graylib.Identity, what string) string {
	return strings.Join([]string{id.Service, id.Tag.String(), what, newUUID()}, "#")
}

// newUUID returns a random UUID (RFC 9562, version 4).
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the program instead (crypto/rand)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// unqualified takes the namespace off a name: the client puts it on itself.
func unqualified(namespace, name string) string {
	if namespace == "" {
		return name
	}
	return strings.TrimPrefix(name, namespace+"%")
}

// qualified is a name as it is on the wire.
func qualified(namespace, name string) string {
	if namespace == "" || strings.HasPrefix(name, namespace+"%") {
		return name
	}
	return namespace + "%" + name
}
