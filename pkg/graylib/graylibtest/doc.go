// Package graylibtest helps to test what is built on graylib: a registry in memory, rules made of functions, and
// a reporter that keeps what it is given. [Run] is the suite that every adapter passes, those of other people too; each
// declares its [Features], and is held to the declaration.
package graylibtest
