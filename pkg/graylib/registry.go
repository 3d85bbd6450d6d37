package graylib

import "context"

// Registration is one endpoint that a process offers.
type Registration struct {
	Service  string // name in the registry, e.g. "b" or "b.rpc"
	Addr     string // host:port as callers reach it
	Weight   float64
	Metadata map[string]string // beside what graylib writes (MetadataTag, MetadataInstance, MetadataService)
}

// Registry is where instances are announced and found. Implementations are safe for concurrent use.
type Registry interface {
	// Table returns the service's table and keeps it up to date until the registry is closed. Repeated calls return the
	// same table. The first call waits for a first answer, as long as ctx allows; on an error the table is
	// returned all the same (empty, or what is known from before) and fills as soon as the registry answers.
	Table(ctx context.Context, service string) (*Table, error)
	// Register announces the endpoint, under the identity's tag and instance name.
	Register(ctx context.Context, r Registration) error
	// Deregister takes the endpoint back, and returns once the registry has acknowledged it.
	Deregister(ctx context.Context, r Registration) error
	// Close takes back what is still registered and ends all subscriptions.
	Close() error
}
