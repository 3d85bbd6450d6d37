// Package graylib stands in for the library's signatures.
package graylib

import "context"

func Detach(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }

func Go(ctx context.Context, f func(context.Context)) { go f(ctx) }
