/*
 * error.h: one list of errors, with asyncio's names.
 *
 * An error is a value (value.h) with a code, a message and perhaps a cause. Codes are negative:
 * asyncio's own below -10000, the system's as -errno. Functions that can fail now and give nothing
 * else return 0 or such a code; the whole error, with its text, is then cora_last_error().
 *
 * Some errors are kinds of others, as classes are in Python: cora_error_is(e, CORA_ERUNTIME) is
 * true of a WrongThread, cora_error_is(e, CORA_EOS) of every errno.
 */
#ifndef CORA_ERROR_H
#define CORA_ERROR_H

#include "value.h"

CORA_BEGIN

enum cora_error_code {
    CORA_ECANCELLED = -10001,          /* CancelledError */
    CORA_EINVALIDSTATE = -10002,       /* InvalidStateError */
    CORA_ETIMEOUT = -10003,            /* TimeoutError */
    CORA_ERUNTIME = -10004,            /* RuntimeError: wrong use */
    CORA_EVALUE = -10005,              /* ValueError: a bad argument */
    CORA_ETYPE = -10006,               /* TypeError: a value of another type than asked for */
    CORA_EMEMORY = -10007,             /* MemoryError */
    CORA_ELOOKUP = -10008,             /* LookupError */
    CORA_ESTALE = -10009,              /* StaleHandle, a RuntimeError: the object is gone */
    CORA_EWRONGTHREAD = -10010,        /* WrongThread, a RuntimeError: the loop is another's */
    CORA_EKEYBOARDINTERRUPT = -10011,  /* KeyboardInterrupt: leaves the run */
    CORA_ESYSTEMEXIT = -10012,         /* SystemExit: leaves the run */
    CORA_EOS = -10013,                 /* OSError: what every -errno is a kind of */
    CORA_EEXCEPTION = -10014,          /* Exception: an error of the program's own */
    CORA_EKEY = -10015,                /* KeyError, a LookupError */
    CORA_EGENERATOREXIT = -10016,      /* GeneratorExit: a coroutine is being closed */
    CORA_EEXCEPTIONGROUP = -10017,     /* ExceptionGroup: several errors, see cora_exceptions */
    CORA_ESTOPASYNCITERATION = -10018, /* StopAsyncIteration: there is nothing more to come */
    CORA_EBROKENBARRIER = -10019,      /* BrokenBarrierError, a RuntimeError */
    CORA_EQUEUEEMPTY = -10020,         /* QueueEmpty: nothing to get without waiting */
    CORA_EQUEUEFULL = -10021,          /* QueueFull: no room to put without waiting */
    CORA_EQUEUESHUTDOWN = -10022,      /* QueueShutDown: nothing more is put, or to be got */
    CORA_ECONNECTION = -10023,       /* ConnectionError, an OSError: reset, refused, aborted, ... */
    CORA_EGAI = -10024,              /* gaierror, an OSError: a name or address is not known */
    CORA_EINCOMPLETEREAD = -10025,   /* IncompleteReadError: the stream's end came before */
    CORA_ELIMITOVERRUN = -10026,     /* LimitOverrunError: no separator within the limit */
    CORA_EBROKENEXECUTOR = -10027,   /* BrokenExecutor, a RuntimeError: its workers are gone */
    CORA_EBROKENTHREADPOOL = -10028, /* BrokenThreadPool, a BrokenExecutor */
    CORA_EBROKENPROCESSPOOL = -10029, /* BrokenProcessPool, a BrokenExecutor */
};

/*
 * An error of this code with a printf-like message (NULL: none); a temporary value, as all
 * constructors give. Never fails: when memory has run out the error is a MemoryError.
 */
CORA_API cora_value cora_error(int code, const char *format, ...) CORA_PRINTF(2, 3);

/* The same, with the error that led to it. Keeps a reference to the cause. asyncio: raise from. */
CORA_API cora_value cora_error_from(cora_value cause, int code, const char *format, ...)
    CORA_PRINTF(3, 4);

/* Whether this value is an error; whether it is one of this code or of a kind of it. */
CORA_API bool cora_is_error(cora_value value);
CORA_API bool cora_error_is(cora_value error, int code);

/* Code (0 if this is no error), message ("" if none), cause (nothing if none). Borrowed from it. */
CORA_API int cora_error_code(cora_value error);
CORA_API const char *cora_error_message(cora_value error);
CORA_API cora_value cora_error_cause(cora_value error);

/*
 * One error for several, which are in a list, in this order: at least one, all of them errors (else
 * a ValueError instead). And that list: of any other error an empty one. asyncio: ExceptionGroup,
 * exceptions.
 */
CORA_API cora_value cora_exception_group(const cora_value *errors, size_t count,
                                         const char *message);
CORA_API cora_value cora_exceptions(cora_value group);

/*
 * An error that holds values for who reads it, and that list: of others an empty one. So have an
 * IncompleteReadError and a LimitOverrunError what asyncio's have (stream_reader.h).
 */
CORA_API cora_value cora_error_with(const cora_value *details, size_t count, int code,
                                    const char *format, ...) CORA_PRINTF(4, 5);
CORA_API cora_value cora_error_details(cora_value error);

/* The name of a code: "InvalidStateError", "ConnectionRefusedError", ... Static. */
CORA_API const char *cora_error_name(int code);

/*
 * The error of the last call that failed in this thread, or nothing. Borrowed until the next call
 * that fails. Calls that work leave it alone, as errno.
 */
CORA_API cora_value cora_last_error(void);

/* Its code; 0 if there is none. */
CORA_API int cora_last_error_code(void);

/*
 * Makes this the thread's last error, and gives its code: for functions of a program's own that
 * fail as Cora's do. Adds a reference.
 */
CORA_API int cora_set_last_error(cora_value error);

/*
 * Fails the callback that is running: when it returns, the error is reported to the loop's
 * exception handler as "Exception in callback NAME(ARGUMENTS)". A later call replaces the error of
 * an earlier one. KeyboardInterrupt and SystemExit also leave cora_run_forever. Outside a callback
 * it only sets cora_last_error(). Adds a reference.
 */
CORA_API void cora_fail(cora_value error);

CORA_END
#endif
