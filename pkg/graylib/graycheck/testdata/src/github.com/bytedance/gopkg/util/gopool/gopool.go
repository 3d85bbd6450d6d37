// Package gopool stands in for the pool's signatures.
package gopool

import "context"

func Go(f func()) { f() }

func CtxGo(ctx context.Context, f func()) { f() }
