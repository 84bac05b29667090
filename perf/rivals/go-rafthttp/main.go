// go-rafthttp plays the loads of raftring-perf on etcd's own rafthttp, from the published server
// module: same flags, same messages, same batches, same line for machines. Everything that could
// slow the rival down without being part of it is left out: no logger, no TLS, a plain listener
// instead of etcd's with a deadline on every read and write.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

const implementation = "go-rafthttp"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", implementation, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	plan, err := parsePlan(args)
	if err != nil {
		return err
	}
	if err := stayOn(plan.cores); err != nil {
		return err
	}
	meter := newMeter(plan)
	cluster, err := startCluster(plan, meter)
	if err != nil {
		return err
	}
	defer cluster.stop()
	if plan.mode == push {
		go newLoad(plan, meter, cluster.leader.transport).run()
	} else {
		cluster.leader.transport.Send(meter.circles.start())
	}
	posts := cluster.posts.Load()
	meter.watch(plan)
	if strays := cluster.posts.Load() - posts; strays > 0 {
		return fmt.Errorf("%d messages went by POST because a stream was down: run again on a quieter machine", strays)
	}
	return report(plan, meter)
}

// stayOn keeps the whole process on the cores and tells the runtime how many they are. Go cannot
// place goroutines; all threads share the cores, as they do in etcd.
func stayOn(cores []int) error {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return fmt.Errorf("cannot ask which cores this process may use: %w", err)
	}
	var set unix.CPUSet
	for _, core := range cores {
		if core < 0 || core >= len(allowed)*64 || !allowed.IsSet(core) {
			return fmt.Errorf("core %d of --cores does not exist or may not be used here: choose others", core)
		}
		set.Set(core)
	}
	// The affinity belongs to threads, and the runtime has started some already: set each.
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("cannot list the threads of this process: %w", err)
	}
	for _, thread := range threads {
		var id int
		if _, err := fmt.Sscan(thread.Name(), &id); err != nil {
			return fmt.Errorf("thread %q has no number: %w", thread.Name(), err)
		}
		if err := unix.SchedSetaffinity(id, &set); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("cannot stay on --cores: %w", err)
		}
	}
	// Who sets GOMAXPROCS by hand means it.
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(set.Count())
	}
	return nil
}
