package graylib

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits of signed tags. Keys of fewer bytes than the hash has weaken it (RFC 2104, section 3). The lifetime bounds how
// long a signature that leaked is good for, and how far the clocks of signer and gateway may differ.
const (
	MinTrustKeyBytes = 32
	MaxTrustKeys     = 16
	MaxSignedTagTTL  = 5 * time.Minute
	signedTagSkew    = 30 * time.Second
	maxSignedTag     = 256 // bytes of the header; the longest that SignTag makes has 160
)

// TrustKey is a key that signed tags are made and checked with. Several are in force at once, so that they can be rotated:
// add the new one at every gateway, let the signers change over, take the old one away five minutes later.
type TrustKey struct {
	ID     string // 1 to 32 of a-z, A-Z, 0-9, _ and -
	Secret []byte // at least 32 bytes
}

// SignedTag is what a signature says.
type SignedTag struct {
	Tag Tag // to colour the request with; not Untagged

	// Method and Path, as they stand in the request line without the query, bind the signature to such requests; both empty
	// make it good for any. Within its lifetime a signature can be used again and again, on every gateway that has the key:
	// bind it where the header could be read by others.
	Method, Path string

	TTL time.Duration // from now on, whole seconds, at most [MaxSignedTagTTL]; zero means one minute
}

// ErrInvalidSignedTag is wrapped by the errors of [SignTag].
var ErrInvalidSignedTag = errors.New("invalid signed tag")

// SignTag returns the value of the header [HTTPSignedTag] with which a gateway that has the key takes the tag of a request
// from outside. now is the signer's time.
func SignTag(key TrustKey, s SignedTag, now time.Time) (string, error) {
	if err := key.check(); err != nil {
		return "", fmt.Errorf("%w: %w", ErrInvalidSignedTag, err)
	}
	if s.TTL == 0 {
		s.TTL = time.Minute
	}
	bound := s.Method != "" || s.Path != ""
	switch {
	case s.Tag == Untagged || !s.Tag.Valid():
		return "", fmt.Errorf("%w: tag %q: want a well-formed tag", ErrInvalidSignedTag, clip(string(s.Tag)))
	case s.TTL < time.Second || s.TTL > MaxSignedTagTTL:
		return "", fmt.Errorf("%w: lifetime %v: want 1s to %v", ErrInvalidSignedTag, s.TTL, MaxSignedTagTTL)
	case bound && (s.Method == "" || !strings.HasPrefix(s.Path, "/") || strings.ContainsAny(s.Method+s.Path, "\n?")):
		return "", fmt.Errorf("%w: method %q and path %q: want both or none, the path beginning with / and without a query",
			ErrInvalidSignedTag, clip(s.Method), clip(s.Path))
	}
	scope := scopeAny
	if bound {
		scope = scopeRequest
	}
	head := strings.Join([]string{
		signedVersion, key.ID, string(s.Tag), strconv.FormatInt(now.Unix(), 10),
		strconv.FormatInt(now.Add(s.TTL).Unix(), 10), scope,
	}, ".")
	return head + "." + base64.RawURLEncoding.EncodeToString(signatureOf(key.Secret, head, s.Method, s.Path)), nil
}

// A signed tag on the wire: version.key.tag.issued.expires.scope.signature, times in seconds since 1970.
const (
	signedVersion = "v1"
	scopeAny      = "any"
	scopeRequest  = "req"
	signedFields  = 7
)

// signatureOf is HMAC-SHA256 over the fields and, where they are bound, the request's method and path.
func signatureOf(secret []byte, head, method, path string) []byte {
	mac := hmac.New(sha256.New, secret)
	for _, s := range []string{"graychain signed tag", head, method, path} {
		mac.Write([]byte(s))
		mac.Write([]byte{'\n'}) // none of them has one
	}
	return mac.Sum(nil)
}

// check tells what is wrong with a key, without its secret.
func (k TrustKey) check() error {
	if k.ID == "" || len(k.ID) > 32 || !headerToken(k.ID) {
		return fmt.Errorf("key id %q: want 1 to 32 of a-z, A-Z, 0-9, _ and -", clip(k.ID))
	}
	if len(k.Secret) < MinTrustKeyBytes {
		return fmt.Errorf("key %q has %d bytes: want at least %d", k.ID, len(k.Secret), MinTrustKeyBytes)
	}
	return nil
}

// ParseTrustKeys reads keys as GRAY_TRUST_KEYS has them, id:base64[,id:base64…], in standard base64 with or without padding.
// Errors wrap [ErrInvalidConfig] and quote no secret.
func ParseTrustKeys(s string) ([]TrustKey, error) {
	var keys []TrustKey
	problem := func(id, what string) error {
		return invalid(EnvTrustKeys, id+":…", what+"; want id:base64[,id:base64…], secrets are not shown")
	}
	for item := range strings.SplitSeq(s, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		id, secret, ok := strings.Cut(item, ":")
		if !ok {
			return nil, problem("…", fmt.Sprintf("key %d has no id", len(keys)+1))
		}
		b, err := base64.RawStdEncoding.Strict().DecodeString(strings.TrimRight(secret, "="))
		if err != nil {
			return nil, problem(clip(id), "the secret is no base64")
		}
		k := TrustKey{ID: id, Secret: b}
		if err := k.check(); err != nil {
			return nil, problem(clip(id), err.Error())
		}
		if slices.ContainsFunc(keys, func(o TrustKey) bool { return o.ID == id }) {
			return nil, problem(clip(id), "the id stands there twice")
		}
		keys = append(keys, k)
	}
	if len(keys) > MaxTrustKeys {
		return nil, problem("…", fmt.Sprintf("%d keys, at most %d", len(keys), MaxTrustKeys))
	}
	return keys, nil
}

// ParseTrustCIDRs reads networks as GRAY_TRUST_CIDRS has them, CIDR[,CIDR…]; an address is a network of one. Errors wrap
// [ErrInvalidConfig].
func ParseTrustCIDRs(s string) ([]netip.Prefix, error) {
	var list []netip.Prefix
	for item := range strings.SplitSeq(s, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		p, err := netip.ParsePrefix(item)
		if err != nil {
			a, addrErr := netip.ParseAddr(item)
			if addrErr != nil || a.Zone() != "" {
				return nil, invalid(EnvTrustCIDRs, s, fmt.Sprintf("%q is no network; want CIDR[,CIDR…], e.g. 10.0.0.0/8,::1", item))
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		if p.Masked().Addr() != p.Addr() {
			return nil, invalid(EnvTrustCIDRs, s, fmt.Sprintf("%q has bits beyond its length; want %s", item, p.Masked()))
		}
		list = append(list, unmapped(p))
	}
	return list, nil
}

// unmapped returns an IPv4-mapped IPv6 network as the IPv4 network that it is, since addresses are compared so.
func unmapped(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}
