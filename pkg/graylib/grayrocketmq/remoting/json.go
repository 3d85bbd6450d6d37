package remoting

import (
	"encoding/json"
	"fmt"
)

// decodeBody parses a body that the server wrote with fastjson, which leaves integer keys bare: {0:"127.0.0.1:10911"}.
func decodeBody(what string, body []byte, into any) error {
	if err := json.Unmarshal(quoteKeys(body), into); err != nil {
		return fmt.Errorf("%w: body of %s: %w", ErrMalformedFrame, what, err)
	}
	return nil
}

// quoteKeys puts quotes around bare integer keys of JSON objects. Valid JSON comes back as it is.
func quoteKeys(body []byte) []byte {
	var out []byte // nil until something has to be changed
	inString, escaped := false, false
	keyPossible := false // after { or , and blanks
	for i := 0; i < len(body); i++ {
		c := body[i]
		if inString {
			switch {
			case escaped:
				escaped = false
			case c == '\\':
				escaped = true
			case c == '"':
				inString = false
			}
			if out != nil {
				out = append(out, c)
			}
			continue
		}
		if keyPossible && (c == '-' || c >= '0' && c <= '9') {
			end := i + 1
			for end < len(body) && body[end] >= '0' && body[end] <= '9' {
				end++
			}
			colon := end
			for colon < len(body) && isBlank(body[colon]) {
				colon++
			}
			if colon < len(body) && body[colon] == ':' {
				if out == nil {
					out = append(make([]byte, 0, len(body)+len(body)/4+2), body[:i]...)
				}
				out = append(out, '"')
				out = append(out, body[i:end]...)
				out = append(out, '"')
				i = end - 1
				keyPossible = false
				continue
			}
		}
		switch {
		case c == '"':
			inString, keyPossible = true, false
		case c == '{' || c == ',':
			keyPossible = true
		case !isBlank(c):
			keyPossible = false
		}
		if out != nil {
			out = append(out, c)
		}
	}
	if out == nil {
		return body
	}
	return out
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
