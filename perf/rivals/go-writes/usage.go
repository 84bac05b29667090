package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// usage is user and system time, of all members and of all clients.
type usage struct{ servers, clients time.Duration }

// tick is the unit of /proc, the same on every Linux.
const tick = 10 * time.Millisecond

// processorTime is what a process used so far, all of its threads.
func processorTime(pid int) (time.Duration, error) {
	bytes, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("a member is gone: %w", err)
	}
	// The name comes in parentheses and may hold anything; user and system time are the 12th and
	// 13th field behind it.
	text := string(bytes)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 13 {
		return 0, errors.New("/proc: a line that is too short")
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * tick, err
}

func ownProcessorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// printDisk says what one small write to this disk costs, for every figure rests on that.
func printDisk(dir string) error {
	const writes = 200
	file, err := os.Create(filepath.Join(dir, "go-writes.probe"))
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	block := make([]byte, 4096)
	var took []time.Duration
	for range writes {
		began := time.Now()
		if _, err := file.Write(block); err != nil {
			return err
		}
		if err := syscall.Fdatasync(int(file.Fd())); err != nil {
			return err
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	fmt.Printf("disk: 4 KiB and fdatasync, alone: p50 %v, p99 %v\n", took[writes/2], took[writes*99/100])
	return nil
}
