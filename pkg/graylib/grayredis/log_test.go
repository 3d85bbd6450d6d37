package grayredis_test

import "context"

// quiet drops what go-redis says of servers that tests stop.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}
