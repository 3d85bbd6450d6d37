package rules

import (
	"context"
	"errors"
)

// ErrConflict is wrapped by a [Store]'s error when the document was changed by someone else in between.
var ErrConflict = errors.New("the rules document was changed in between")

// Store is where the rules document is published. Implementations are safe for concurrent use.
type Store interface {
	// Get returns the document's text and its MD5 in lower-case hex. Where there is no document both are empty, without
	// an error. A read may lag behind a write by some 100 ms.
	Get(ctx context.Context) (content []byte, md5 string, err error)
	// Publish replaces the document whose MD5 is casMD5; an empty casMD5 means that there must be none. Where that no
	// longer holds, nothing is changed and the error wraps [ErrConflict].
	Publish(ctx context.Context, content []byte, casMD5 string) error
}
