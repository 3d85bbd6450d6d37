package grayrocketmq

import (
	"errors"

	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

// Errors of this package.
var (
	// ErrReservedProperty is wrapped where an application sets a message property that graylib writes. The error names it.
	ErrReservedProperty = errors.New("reserved message property")
	// ErrNotSupported is wrapped where a setting of the client can't be kept apart by lanes yet. The error names it.
	ErrNotSupported = errors.New("not supported with message grayscale")
	// ErrInvalidOption is wrapped where a setting is missing or wrong. The error names it and says what it may be.
	ErrInvalidOption = errors.New("invalid option")
	// ErrState is wrapped where a method is called at the wrong time.
	ErrState = errors.New("wrong state")
	// ErrNoTopics is wrapped where subscribed topics don't exist and may not be created. The error names them.
	ErrNoTopics = errors.New("topics don't exist")
	// ErrNoGroups is wrapped where consumer groups don't exist and may not be created. The error names them.
	ErrNoGroups = errors.New("consumer groups don't exist")
	// ErrNoPropertyFilter is wrapped where a broker doesn't filter by properties.
	ErrNoPropertyFilter = remoting.ErrNoPropertyFilter
	// ErrFirstOffsets is wrapped where a group's first offsets could not be set.
	ErrFirstOffsets = errors.New("first offsets not set")
	// ErrDrain is wrapped by Shutdown where handlers were still running at the drain limit; their messages are delivered again.
	ErrDrain = errors.New("handlers still running")
)
