"""How far the batch is: the process that turns journals into the manifest, the status recounted from the files, the
time left, and the jobs that are not `ok`. It changes no job."""
