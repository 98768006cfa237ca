/* report.h: what the demo prints. */
#ifndef DEMO_REPORT_H
#define DEMO_REPORT_H

#include "crawl.h"

/* The state of things on a terminal: a line that overwrites itself; clearing removes it. */
void report_progress(const struct crawl *crawl);
void report_progress_clear(void);

/* A line for each page, or for each outcome; then the summary of a run that took so long. */
void report_pages(const struct crawl *crawl);
void report_outcomes(const struct crawl *crawl);
void report_summary(const struct crawl *crawl, double seconds);

/* Says how many pages ended as their server meant it, and which did not. Whether all did. */
bool report_meaning(const struct crawl *crawl);

#endif
