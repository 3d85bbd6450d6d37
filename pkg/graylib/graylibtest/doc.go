// Package graylibtest helps to test what is built on graylib: a registry in memory, rules made of functions, and
// a reporter that keeps what it is given.
package graylibtest
