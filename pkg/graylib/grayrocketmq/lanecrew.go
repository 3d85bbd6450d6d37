package grayrocketmq

// crew runs handlers on goroutines that stay: a new one for each message would grow its stack anew each time. How many run at
// once is its caller's to bound.
type crew struct {
	next chan func()     // unbuffered: taken by one that has nothing to do
	over <-chan struct{} // when closed, those that have nothing to do end
}

func newCrew(over <-chan struct{}) *crew { return &crew{next: make(chan func()), over: over} }

// do has f run, at once.
func (c *crew) do(f func()) {
	select {
	case c.next <- f:
	default:
		go c.work(f)
	}
}

// work runs f, and whatever comes after it. A handler that ends its goroutine (runtime.Goexit) ends this.
func (c *crew) work(f func()) {
	for {
		f()
		select {
		case f = <-c.next:
		case <-c.over:
			return
		}
	}
}
