"""Goroutines in gdb: `source gaggle.py`, then

    info goroutines        all of them: number, state, name, where they were started
    goroutine N bt         the stack of goroutine N, if it does not run
    goroutine N COMMAND    any command of gdb in goroutine N's innermost frame: `goroutine 7 up 2`
    goroutine all bt       all stacks

Works on live processes and on core files, in debug and release builds. A goroutine that runs is a
thread of gdb's at that moment: see it by `thread apply all bt`.
"""

import struct

import gdb
import gdb.unwinder

REASONS = [
    "waiting", "runnable", "chan receive", "chan send", "select", "select (no cases)", "sleep",
    "IO wait", "futex wait", "sync.Mutex.Lock", "semacquire", "park", "join", "syscall", "timer",
    "sync.Cond.Wait", "sync.RWMutex.RLock", "sync.RWMutex.Lock",
]

FIELDS = [
    "version", "chunks", "chunk_head_bytes", "chunk_records", "record_bytes", "id", "on",
    "suspended_on", "stack_pointer", "slot", "reason", "name", "location", "parent",
]

# The frame of a context that does not run: offsets from its stack pointer (gaggle-sys,
# src/arch/x86_64.rs). Its frame ends at 64.
SAVED = {"r15": 8, "r14": 16, "r13": 24, "r12": 32, "rbx": 40, "rbp": 48, "rip": 56}
FRAME_BYTES = 64


def read(address, size):
    return bytes(gdb.selected_inferior().read_memory(address, size))


def word(address):
    return struct.unpack("<Q", read(address, 8))[0]


def text(address, length):
    return read(address, min(length, 256)).decode("utf-8", "replace")


def table():
    # The expression is C's; the language that gdb speaks follows the selected frame.
    language = gdb.parameter("language")
    gdb.execute("set language c", to_string=True)
    try:
        address = int(gdb.parse_and_eval("(unsigned long)&GAGGLE_DEBUGGER_TABLE"))
    except gdb.error as error:
        raise gdb.GdbError("this program has no goroutines: %s" % error)
    finally:
        gdb.execute("set language %s" % language, to_string=True)
    values = struct.unpack("<%dQ" % len(FIELDS), read(address, 8 * len(FIELDS)))
    found = dict(zip(FIELDS, values))
    if found["version"] < 1:
        raise gdb.GdbError("the goroutine table has a version that this script does not know")
    return found


class Goroutine:
    def __init__(self, layout, record):
        def field(name):
            return word(record + layout[name])

        self.id = field("id")
        self.on = field("on")
        self.suspended = field("suspended_on") != 0
        self.slot = field("slot")
        self.stack_pointer = field("stack_pointer")
        reason = read(record + layout["reason"], 1)[0]
        self.reason = REASONS[reason] if reason < len(REASONS) else "waiting"
        self.parent = field("parent")
        # Option<Arc<str>>: a pointer to the counts, with the text after them, and the length.
        counts, length = field("name"), word(record + layout["name"] + 8)
        self.name = text(counts + 16, length) if counts else None
        # Location: file name (pointer and length), line, column.
        location = field("location")
        self.origin = "?"
        if location:
            file = text(word(location), word(location + 8))
            line = struct.unpack("<I", read(location + 16, 4))[0]
            self.origin = "%s:%d" % (file.rstrip("\0"), line)

    def state(self):
        if self.reason == "syscall":
            return "syscall"
        if self.suspended:
            return "runnable, preempted"
        if self.on:
            return "running"
        return self.reason if self.slot else self.reason + ", not started"

    def has_stack(self):
        return bool(self.slot) and not self.on

    def __str__(self):
        name = ' "%s"' % self.name if self.name else ""
        return "%d [%s]%s, created at %s" % (self.id, self.state(), name, self.origin)


def goroutines():
    layout = table()
    chunk = word(layout["chunks"])
    found = []
    while chunk:
        first = chunk + layout["chunk_head_bytes"]
        size, count = layout["record_bytes"], layout["chunk_records"]
        records = read(first, size * count)
        for index in range(count):
            # A record with the number 0 is no goroutine.
            at = index * size + layout["id"]
            if any(records[at:at + 8]):
                found.append(Goroutine(layout, first + index * size))
        chunk = word(chunk)
    return sorted(found, key=lambda goroutine: goroutine.id)


class FrameId:
    def __init__(self, sp, pc):
        self.sp = sp
        self.pc = pc


class Unwinder(gdb.unwinder.Unwinder):
    """Makes the caller of the selected thread's innermost frame the saved context of a goroutine."""

    def __init__(self):
        super().__init__("gaggle")
        self.stack_pointer = None
        self.innermost = None

    def __call__(self, pending):
        if self.stack_pointer is None:
            return None
        here = pending.read_register("rsp")
        if int(here) != self.innermost:
            return None
        size = here.type
        base = self.stack_pointer
        # Below the goroutine's frames, so that they are outer to this one.
        below = gdb.Value(base - 16).cast(size)
        info = pending.create_unwind_info(FrameId(below, pending.read_register("rip")))
        for register, offset in SAVED.items():
            kind = pending.read_register(register).type
            info.add_saved_register(register, gdb.Value(word(base + offset)).cast(kind))
        info.add_saved_register("rsp", gdb.Value(base + FRAME_BYTES).cast(size))
        return info


UNWINDER = Unwinder()
gdb.unwinder.register_unwinder(None, UNWINDER, replace=True)


class Entered:
    """While it is entered, the frames above the innermost are the goroutine's."""

    def __init__(self, goroutine):
        self.goroutine = goroutine

    def __enter__(self):
        gdb.newest_frame().select()
        UNWINDER.innermost = int(gdb.newest_frame().read_register("rsp"))
        UNWINDER.stack_pointer = self.goroutine.stack_pointer
        gdb.invalidate_cached_frames()
        # Functions inlined into the thread's innermost one come first.
        frame = gdb.newest_frame()
        while frame is not None and frame.type() == gdb.INLINE_FRAME:
            frame = frame.older()
        frame = frame.older() if frame is not None else None
        if frame is None:
            raise gdb.GdbError("the goroutine's stack cannot be walked")
        frame.select()
        return frame

    def __exit__(self, *_):
        UNWINDER.stack_pointer = None
        gdb.invalidate_cached_frames()
        gdb.newest_frame().select()


def backtrace(goroutine):
    print("goroutine %s" % goroutine)
    if not goroutine.has_stack():
        print("  (no saved stack: it runs, or has not started)")
        return
    with Entered(goroutine) as frame:
        number = 0
        while frame is not None and number < 200:
            place = frame.find_sal()
            where = ""
            if place is not None and place.symtab is not None:
                where = " at %s:%d" % (place.symtab.filename, place.line)
            print("#%-3d 0x%016x in %s ()%s" % (number, frame.pc(), frame.name() or "??", where))
            frame = frame.older()
            number += 1


class InfoGoroutines(gdb.Command):
    """All goroutines: number, state, name, where they were started."""

    def __init__(self):
        super().__init__("info goroutines", gdb.COMMAND_STATUS)

    def invoke(self, _argument, _from_tty):
        for goroutine in goroutines():
            print(goroutine)


class GoroutineCommand(gdb.Command):
    """goroutine N COMMAND: runs a command in goroutine N; `bt` shows its stack. N may be `all`."""

    def __init__(self):
        super().__init__("goroutine", gdb.COMMAND_STACK)

    def invoke(self, argument, _from_tty):
        number, _, command = argument.partition(" ")
        command = command.strip() or "bt"
        wanted = [g for g in goroutines() if number == "all" or number == str(g.id)]
        if not wanted:
            raise gdb.GdbError("there is no goroutine %s" % number)
        for goroutine in wanted:
            if command in ("bt", "backtrace", "where"):
                backtrace(goroutine)
                continue
            if not goroutine.has_stack():
                raise gdb.GdbError("goroutine %d runs, or has not started" % goroutine.id)
            with Entered(goroutine):
                gdb.execute(command)


InfoGoroutines()
GoroutineCommand()
