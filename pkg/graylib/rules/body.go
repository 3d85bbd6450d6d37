package rules

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// parseBody reads a JSON body whole; nil where it is none. Numbers stay as they are written.
func parseBody(body []byte) any {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return nil
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil // something follows
	}
	return v
}

// bodyValues appends the values of a field of a JSON body to values, and tells whether the field is there at all. An
// array on the way stands for each of its elements, so a field may have several values; null is absent; an object is
// there, but has no value to compare with.
func bodyValues(v any, path string, values []string) (_ []string, present bool) {
	if list, ok := v.([]any); ok {
		for _, element := range list {
			var some bool
			values, some = bodyValues(element, path, values)
			present = present || some
		}
		return values, present
	}
	if path != "" {
		object, ok := v.(map[string]any)
		if !ok {
			return values, false
		}
		name, rest, _ := strings.Cut(path, ".")
		return bodyValues(object[name], rest, values)
	}
	switch v := v.(type) {
	case string:
		return append(values, v), true
	case json.Number:
		return append(values, v.String()), true
	case bool:
		if v {
			return append(values, "true"), true
		}
		return append(values, "false"), true
	case map[string]any:
		return values, true
	default:
		return values, false
	}
}
