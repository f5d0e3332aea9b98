"""Evidence on disk to what people read: the HTML report, the matrix site, JUnit and the badge."""
