package graylib

import (
	"crypto/hmac"
	"encoding/base64"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Outside is what a server at the edge knows of a request from outside beside its headers.
type Outside struct {
	Peer   string // address of the direct peer, without a port; "" = unknown
	Method string
	Path   string // as it stands in the request line, without the query
}

// WithTrust adds sources whose word colours a request at the edge: keys of signed tags ([SignTag]), and networks of direct
// peers, whose tag, request id and trace are believed. They add to those of the configuration (GRAY_TRUST_KEYS,
// GRAY_TRUST_CIDRS); without any, what comes from outside colours nothing.
func WithTrust(keys []TrustKey, networks ...netip.Prefix) Option {
	return func(rt *Runtime) {
		rt.propagation.keys = append(rt.propagation.keys, keys...)
		rt.propagation.networks = append(rt.propagation.networks, networks...)
	}
}

// trust decides whose tag counts at the edge.
type trust struct {
	keys     map[string][]byte
	networks []netip.Prefix
	now      func() time.Time

	signed, network atomic.Int64
	refused         [refusals]atomic.Int64
	logRefused      sync.Once
}

// refusal is why a tag from outside wasn't taken.
type refusal uint8

const (
	refusedMalformed refusal = iota
	refusedKey
	refusedSignature
	refusedExpired
	refusedFuture
	refusedTag
	refusedLane
	refusals
	accepted
)

var refusalNames = [refusals]string{
	"malformed", "unknown key", "wrong signature", "expired", "not yet valid", "malformed tag", "lane not listed or retired",
}

// TrustStatus counts tags that came from outside where a trusted source is configured.
type TrustStatus struct {
	Signed  int64            `json:"signed"`            // taken from signed headers
	Network int64            `json:"network"`           // taken from peers of trusted networks
	Refused map[string]int64 `json:"refused,omitempty"` // why -> how many
}

func (t *trust) status() *TrustStatus {
	if t == nil {
		return nil
	}
	s := &TrustStatus{Signed: t.signed.Load(), Network: t.network.Load()}
	for i, name := range refusalNames {
		if n := t.refused[i].Load(); n > 0 {
			if s.Refused == nil {
				s.Refused = make(map[string]int64)
			}
			s.Refused[name] = n
		}
	}
	return s
}

// Admit makes a request from outside one of ours: what only our own services may say is stripped ([Runtime.Strip]), the tag
// of a trusted source is taken, and a request id and a trace are given ([Enter]) where a trusted network sent none. A
// trusted source colours only into a lane that the rules list and that isn't retired; of a signed header and a trusted
// network that name different tags, the signature counts. It tells whether the trace begins here.
func (rt *Runtime) Admit(h HeaderStripper, from Outside) (root bool) {
	keep := rt.trusted(h, from)
	rt.Strip(h)
	if keep != nil {
		inject(keep, keep.tag, &HTTPKeys, h)
	}
	parent := h.Get(HTTPKeys.TraceParent)
	Enter(HTTPKeys, h)
	return h.Get(HTTPKeys.TraceParent) != parent
}

// trusted returns what is believed of a request, or nil.
func (rt *Runtime) trusted(h HeaderStripper, from Outside) *meta {
	t := rt.propagation.trust
	if t == nil {
		return nil
	}
	var m *meta
	if t.knows(from.Peer) {
		m = &meta{}
		v := carriedBy(&HTTPKeys, h)
		if err := rt.extract(m, &v, &HTTPKeys, h); err != nil {
			t.refuse(rt, refusedTag, from)
		}
		if m.tag != Untagged && rt.colours(m.tag, from) {
			t.network.Add(1)
		} else {
			m.tag = Untagged
		}
	}
	if token := h.Get(HTTPSignedTag); token != "" && len(t.keys) > 0 {
		tag, why := t.verify(token, from)
		switch {
		case why != accepted:
			t.refuse(rt, why, from)
		case rt.colours(tag, from):
			t.signed.Add(1)
			if m == nil {
				m = &meta{}
			}
			m.tag = tag
		}
	}
	return m
}

// colours tells whether a tag may colour, and counts where the rules don't let it.
func (rt *Runtime) colours(tag Tag, from Outside) bool {
	if rt.config.Disabled {
		return false
	}
	if !rt.mayColour(tag) {
		rt.propagation.trust.refuse(rt, refusedLane, from)
		return false
	}
	return true
}

// mayColour tells whether the rules list a tag's lane, and it isn't retired: another one's tag colours nothing.
func (rt *Runtime) mayColour(tag Tag) bool {
	lane, listed := rt.Rules().Lane(tag)
	return listed && lane.State != LaneRetired
}

func (t *trust) refuse(rt *Runtime, why refusal, from Outside) {
	t.refused[why].Add(1)
	t.logRefused.Do(func() {
		rt.Logger().Warn("a tag from outside was not taken; further ones are counted in "+StatusPath+" and not logged",
			"reason", refusalNames[why], "peer", from.Peer)
	})
}

// knows tells whether a peer is of a trusted network.
func (t *trust) knows(peer string) bool {
	if len(t.networks) == 0 {
		return false
	}
	addr, err := netip.ParseAddr(peer)
	if err != nil {
		return false
	}
	addr = addr.Unmap().WithZone("")
	for _, n := range t.networks {
		if n.Contains(addr) {
			return true
		}
	}
	return false
}

// verify returns the tag of a signed header. The signature is compared in constant time, and before anything that it covers
// is believed.
func (t *trust) verify(token string, from Outside) (Tag, refusal) {
	if len(token) > maxSignedTag {
		return Untagged, refusedMalformed
	}
	f := strings.Split(token, ".")
	if len(f) != signedFields || f[0] != signedVersion {
		return Untagged, refusedMalformed
	}
	signature, err := base64.RawURLEncoding.Strict().DecodeString(f[6])
	if err != nil {
		return Untagged, refusedMalformed
	}
	secret, ok := t.keys[f[1]]
	if !ok {
		return Untagged, refusedKey
	}
	method, path := "", ""
	switch f[5] {
	case scopeAny:
	case scopeRequest:
		method, path = from.Method, from.Path
	default:
		return Untagged, refusedMalformed
	}
	if strings.ContainsRune(method+path, '\n') ||
		!hmac.Equal(signature, signatureOf(secret, token[:len(token)-len(f[6])-1], method, path)) {
		return Untagged, refusedSignature
	}
	tag, err := ParseTag(f[2])
	issued, issuedErr := strconv.ParseInt(f[3], 10, 64)
	expires, expiresErr := strconv.ParseInt(f[4], 10, 64)
	now := t.now().Unix()
	const most, skew = int64(MaxSignedTagTTL / time.Second), int64(signedTagSkew / time.Second)
	switch {
	case err != nil || tag == Untagged:
		return Untagged, refusedTag
	case issuedErr != nil || expiresErr != nil || issued < 0 || expires <= issued || expires-issued > most:
		return Untagged, refusedMalformed
	case issued > now+skew:
		return Untagged, refusedFuture
	case now >= expires+skew:
		return Untagged, refusedExpired
	}
	return tag, accepted
}
