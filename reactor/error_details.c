/*
 * How it works: an error that holds values has them in a list where others have their cause. The
 * errors of an ExceptionGroup are such values.
 */
#include "error.h"
#include "private_value.h"

#include <stdarg.h>
#include <stdio.h>

cora_value cora_error_with(const cora_value *details, size_t count, int code, const char *format,
                           ...)
{
    char text[400] = "";
    va_list arguments;
    va_start(arguments, format);
    if (format)
        vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    cora_value list = cora_list(details, count);
    return cora_is_error(list) ? list : cora_error_from(list, code, "%s", text);
}

cora_value cora_error_details(cora_value error)
{
    cora_value held = cora_is_error(error) ? error_holds(error.as.counted) : cora_nothing();
    return held.type == &cora_type_list ? held : cora_list(NULL, 0);
}

cora_value cora_exception_group(const cora_value *errors, size_t count, const char *message)
{
    for (size_t i = 0; i < count; i++)
        if (!cora_is_error(errors[i]))
            count = 0;
    if (count == 0)
        return cora_error(CORA_EVALUE, "an ExceptionGroup wants errors, and at least one");
    return cora_error_with(errors, count, CORA_EEXCEPTIONGROUP, "%s (%zu sub-exception%s)", message,
                           count, count > 1 ? "s" : "");
}

cora_value cora_exceptions(cora_value group)
{
    return cora_error_code(group) == CORA_EEXCEPTIONGROUP ? cora_error_details(group)
                                                          : cora_list(NULL, 0);
}
