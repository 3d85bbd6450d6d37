// Package sql92 is RocketMQ's SQL92 filter language, parsed and evaluated as a 5.3.3 broker does it
// (org.apache.rocketmq:rocketmq-filter), quirks included: tests compare the two on generated expressions.
//
// The language, over a message's properties, all of which are strings:
//
//	a = 'x'   a <> 'x'   a IS NULL   a IS NOT NULL   a IN ('x', 'y')   a NOT IN ('x')
//	a > 5   >=   <   <=   a BETWEEN 1 AND 5   a NOT BETWEEN 1 AND 5
//	a CONTAINS 'x'   a NOT CONTAINS 'x'   STARTSWITH   ENDSWITH       (from 5.0 on)
//	AND   OR   NOT   ( )   TRUE   FALSE   -- comment, to the end of its line   /* comment */
//
// Names match [A-Za-z_$][A-Za-z0-9_$]*. A quote in a string is doubled. Numbers are 64-bit integers (7, 7L) and doubles
// (.5, 5., 5E10); there are no hexadecimal or octal ones.
//
// What surprises, all of it as the broker does it:
//
//   - Whatever follows a complete expression is ignored, if its first token is one at all: gray-tag = 'x' means gray, and
//     a = 007 means a = 0. [Expr.Ignored] returns it.
//   - An absent property is neither equal nor unequal to anything: only IS NULL finds it. CONTAINS, STARTSWITH and ENDSWITH
//     and their negations are false of it, so that NOT (a CONTAINS 'x') finds it and a NOT CONTAINS 'x' doesn't. Logic has
//     three values (SQL's), and only TRUE delivers.
//   - A property beside an integer literal must be an integer, beside a double a number, and two properties beside > or <
//     two numbers; anything else is an error that rejects the message, even where the other side of an OR is TRUE.
//   - NOT binds tighter than anything: NOT a = 'x' is (NOT a) = 'x', an error for every message that has a.
//   - Constants can't be 0.0 (0 can), names alone are false of any string, and TRUE = a is an error where a = TRUE is
//     none.
//
// A 4.x broker has no CONTAINS, STARTSWITH or ENDSWITH: there they are names, and thus ignored where they follow one.
package sql92
