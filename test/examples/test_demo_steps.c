/* The demo told in steps: it is to do all that the one in callbacks does, so its tests are those.
 */
#define PROGRAM "demo_steps"
#include "test_demo.c"
