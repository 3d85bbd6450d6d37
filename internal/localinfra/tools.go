package localinfra

import "context"

// CheckTools tells what this machine lacks to fetch and start the servers, nil if nothing: one of [ErrNoJava], [ErrOldJava],
// [ErrNoCompiler] and [ErrNoMaven]. [Start] may still succeed without Maven or a compiler where all that they
// would make is in the cache.
func CheckTools(ctx context.Context) error {
	j, err := findJava(ctx)
	if err != nil {
		return err
	}
	if _, err := j.compiler(); err != nil {
		return err
	}
	_, err = findMaven()
	return err
}
